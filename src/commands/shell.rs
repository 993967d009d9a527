//! `fieldgate completions` and `fieldgate man`: what shells and `man` know of the command line.

use clap::CommandFactory;

use super::print;
use crate::cli::{Cli, CompletionsArguments};

/// Writes completions for a shell.
pub fn completions(arguments: &CompletionsArguments) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(
        arguments.shell,
        &mut Cli::command(),
        "fieldgate",
        &mut script,
    );
    Ok(print(&script)?)
}

/// Writes the manual page; the commands follow each other on it.
pub fn man() -> anyhow::Result<()> {
    let mut page = Vec::new();
    let mut command = Cli::command();
    command.build();
    let whole = clap_mangen::Man::new(command.clone());
    whole.render(&mut page)?;
    for subcommand in command
        .get_subcommands()
        .filter(|it| it.get_name() != "help")
    {
        let name = subcommand.get_name().to_uppercase();
        page.extend_from_slice(format!(".SH \"COMMAND {name}\"\n").as_bytes());
        let part = clap_mangen::Man::new(subcommand.clone());
        part.render_synopsis_section(&mut page)?;
        part.render_description_section(&mut page)?;
        part.render_options_section(&mut page)?;
    }
    Ok(print(&page)?)
}
