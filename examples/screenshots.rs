//! Draws what a program shows in a terminal as SVG files, for the README.
//!
//! ```text
//! screenshots FOLDER COLUMNSxROWS SCRIPT PROGRAM [ARGUMENTS]
//! ```
//!
//! The script is a list of steps, separated by commas: `KEYS` types, `~SECONDS` waits, `=NAME` takes
//! `FOLDER/NAME.svg`, `!COMMAND` runs a command of the shell.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};

/// A cell in SVG units.
const CELL: (f64, f64) = (8.4, 18.0);
const MARGIN: f64 = 12.0;
const BACKGROUND: &str = "#16181d";
const FOREGROUND: &str = "#d6d9df";

/// The 16 colours of a terminal.
const ANSI: [&str; 16] = [
    "#16181d", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d6d9df",
    "#5c6370", "#ff7b86", "#b5e890", "#ffd98a", "#7cc3ff", "#dc8cf2", "#6fd3df", "#ffffff",
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, size, script, program @ ..] = &arguments[..] else {
        bail!("usage: screenshots FOLDER COLUMNSxROWS SCRIPT PROGRAM [ARGUMENTS]");
    };
    let (columns, rows) = size.split_once('x').context("the size is COLUMNSxROWS")?;
    let size = PtySize {
        cols: columns.parse()?,
        rows: rows.parse()?,
        pixel_width: 0,
        pixel_height: 0,
    };
    let pair = native_pty_system().openpty(size)?;
    let mut command = CommandBuilder::from_argv(program.iter().map(Into::into).collect());
    command.cwd(std::env::current_dir()?);
    command.env("TERM", "xterm-256color");
    command.env("LC_ALL", "C.UTF-8");
    let mut child = pair.slave.spawn_command(command)?;
    drop(pair.slave);
    let screen = Arc::new(Mutex::new(vt100::Parser::new(size.rows, size.cols, 0)));
    let mut output = pair.master.try_clone_reader()?;
    let shown = screen.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let mut screen = shown.lock().unwrap_or_else(PoisonError::into_inner);
            screen.process(&bytes[..count]);
        }
    });
    let mut keyboard = pair.master.take_writer()?;
    for step in script.split(',') {
        if let Some(seconds) = step.strip_prefix('~') {
            std::thread::sleep(Duration::from_secs_f64(seconds.parse()?));
        } else if let Some(name) = step.strip_prefix('=') {
            let screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
            let path = Path::new(folder).join(format!("{name}.svg"));
            std::fs::write(&path, svg(screen.screen()))
                .with_context(|| format!("cannot write {}", path.display()))?;
        } else if let Some(command) = step.strip_prefix('!') {
            Command::new("sh").args(["-c", command]).status()?;
        } else {
            keyboard.write_all(step.as_bytes())?;
            keyboard.flush()?;
        }
    }
    child.kill()?;
    child.wait()?;
    Ok(())
}

fn svg(screen: &vt100::Screen) -> String {
    let (rows, columns) = screen.size();
    let (width, height) = (
        f64::from(columns) * CELL.0 + 2.0 * MARGIN,
        f64::from(rows) * CELL.1 + 2.0 * MARGIN,
    );
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"'JetBrains Mono','DejaVu Sans Mono',Menlo,Consolas,monospace\" \
         font-size=\"14\">\n\
         <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n"
    );
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            let end = run_end(screen, row, column, columns);
            draw_run(&mut svg, screen, row, column..end);
            column = end;
        }
    }
    svg + "</svg>\n"
}

/// What decides how a cell looks, apart from its text.
fn style(cell: &vt100::Cell) -> (String, Option<String>, bool, bool) {
    let mut foreground = color(cell.fgcolor()).unwrap_or_else(|| FOREGROUND.to_owned());
    let mut background = color(cell.bgcolor());
    if cell.inverse() {
        let swapped = background.unwrap_or_else(|| BACKGROUND.to_owned());
        background = Some(std::mem::replace(&mut foreground, swapped));
    }
    (foreground, background, cell.bold(), cell.dim())
}

fn run_end(screen: &vt100::Screen, row: u16, start: u16, columns: u16) -> u16 {
    let of = |column| screen.cell(row, column).map(style);
    let first = of(start);
    (start + 1..columns)
        .find(|column| of(*column) != first)
        .unwrap_or(columns)
}

fn draw_run(svg: &mut String, screen: &vt100::Screen, row: u16, columns: std::ops::Range<u16>) {
    let Some((foreground, background, bold, dim)) = screen.cell(row, columns.start).map(style)
    else {
        return;
    };
    let x = MARGIN + f64::from(columns.start) * CELL.0;
    let y = MARGIN + f64::from(row) * CELL.1;
    let width = f64::from(columns.end - columns.start) * CELL.0;
    // Writing to a `String` cannot fail.
    if let Some(background) = background {
        let _infallible = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{}\" fill=\"{background}\"/>",
            CELL.1
        );
    }
    let text: String = columns
        .map(|column| match screen.cell(row, column) {
            Some(cell) if cell.has_contents() => cell.contents(),
            _ => " ",
        })
        .collect();
    if text.trim().is_empty() {
        return;
    }
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    let opacity = if dim { " opacity=\"0.6\"" } else { "" };
    let _infallible = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.1}\" textLength=\"{width:.1}\" lengthAdjust=\"spacingAndGlyphs\" \
         xml:space=\"preserve\" fill=\"{foreground}\"{weight}{opacity}>{text}</text>",
        y + 13.5
    );
}

fn color(color: vt100::Color) -> Option<String> {
    match color {
        vt100::Color::Default => None,
        vt100::Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
        vt100::Color::Idx(index @ 0..16) => Some(ANSI[usize::from(index)].to_owned()),
        vt100::Color::Idx(index @ 16..232) => {
            let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
            let cube = index - 16;
            let (red, green, blue) = (level(cube / 36), level(cube / 6 % 6), level(cube % 6));
            Some(format!("#{red:02x}{green:02x}{blue:02x}"))
        }
        vt100::Color::Idx(index) => {
            let grey = 8 + 10 * (index - 232);
            Some(format!("#{grey:02x}{grey:02x}{grey:02x}"))
        }
    }
}
