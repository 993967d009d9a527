//! A board that is talked to through the running gateway: texts that are sent, and its port lent to a
//! program.

use std::fs::canonicalize;
use std::process::{Command, Output};

use fieldgate::api::Remote;
use fieldgate::monitor::{self, LinkId, LinkState, Order, Snapshot};

use crate::api::listening_port;
use crate::support::{Fieldgate, PATIENCE, Pty, Signal, poll};

/// A gateway on a pseudo-terminal, with its API.
struct Gateway {
    process: Fieldgate,
    board: Pty,
    url: String,
    token: Option<&'static str>,
}

impl Gateway {
    fn start(source: &str, api: &str) -> Self {
        Self::start_with_token(source, api, None)
    }

    fn start_with_token(source: &str, api: &str, token: Option<&'static str>) -> Self {
        let board = Pty::open();
        let secret = token.map_or_else(String::new, |token| format!("token = \"{token}\""));
        let mut process = Fieldgate::new(&format!(
            "[source]\nport = \"{}\"\n{source}\n[api]\nlisten = \"127.0.0.1:0\"\n{api}\n{secret}\n",
            board.path().display()
        ))
        .start();
        let url = format!("http://127.0.0.1:{}", listening_port(&mut process));
        let gateway = Self {
            process,
            board,
            url,
            token,
        };
        gateway.wait_until("open port", |it| it.source.state == LinkState::Up);
        gateway
    }

    /// `fieldgate COMMAND --gateway URL …`.
    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut fieldgate = Command::new(env!("CARGO_BIN_EXE_fieldgate"));
        fieldgate.args([command, "--gateway", &self.url]);
        fieldgate.args(arguments);
        fieldgate.env_remove("FIELDGATE_API_TOKEN");
        fieldgate
    }

    /// Runs it: its exit code, and what it said on standard error.
    fn run(&self, command: &str, arguments: &[&str]) -> (Option<i32>, String) {
        said(self.command(command, arguments).output().unwrap())
    }

    fn ask<T>(&self, question: impl AsyncFnOnce(Remote) -> Result<T, String>) -> T {
        let token = self.token.map(Into::into);
        let remote = Remote::new(&self.url, token.as_ref()).unwrap();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().unwrap();
        runtime.block_on(question(remote)).unwrap()
    }

    fn snapshot(&self) -> Snapshot {
        self.ask(async |remote| remote.snapshot().await)
    }

    #[track_caller]
    fn wait_until(&self, what: &str, holds: impl Fn(&Snapshot) -> bool) {
        let found = poll(PATIENCE, || holds(&self.snapshot()).then_some(()));
        found.unwrap_or_else(|| panic!("no {what}: {:#?}", self.snapshot().source));
    }

    fn end(&mut self) {
        self.process.signal(Signal::SIGTERM);
        assert!(self.process.wait_exit(PATIENCE).success());
    }
}

fn said(output: Output) -> (Option<i32>, String) {
    let errors = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), errors)
}

#[test]
fn a_text_is_sent_by_the_command_and_logged_with_who_asked() {
    let mut gateway = Gateway::start("line_ending = \"crlf\"", "allow_send = true");
    assert_eq!(gateway.run("send", &["led on"]).0, Some(0));
    assert_eq!(gateway.board.read_line(), "led on\r\n");
    assert_eq!(
        gateway.run("send", &["--source", "source", "-x"]).0,
        Some(0)
    );
    assert_eq!(gateway.board.read_line(), "-x\r\n");
    let log = gateway.process.wait_for_log("text=\"-x\"", PATIENCE);
    assert!(log.contains("A text was sent."), "{log}");
    assert!(log.contains("by=\"127.0.0.1:"), "{log}");

    let (code, errors) = gateway.run("send", &["--source", "north", "led on"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("there is no source north"), "{errors}");
    gateway.end();
    let (code, errors) = gateway.run("send", &["led on"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains(&gateway.url), "{errors}");
    assert!(errors.contains("api.listen"), "{errors}");
}

#[test]
fn nothing_is_sent_for_whoever_has_no_token() {
    let mut gateway = Gateway::start("", "");
    let (code, errors) = gateway.run("send", &["led on"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("api.allow_send = true"), "{errors}");
    gateway.end();

    let token = "s3cret-of-the-bench";
    let mut gateway = Gateway::start_with_token("", "", Some(token));
    let (_, errors) = gateway.run("send", &["led on"]);
    assert!(errors.contains("wants its token"), "{errors}");
    let mut with_token = gateway.command("send", &["led on"]);
    with_token.env("FIELDGATE_API_TOKEN", token);
    assert_eq!(said(with_token.output().unwrap()), (Some(0), String::new()));
    assert_eq!(gateway.board.read_line(), "led on\n");
    gateway.end();
}

#[test]
fn a_port_is_lent_while_a_program_runs_and_comes_back_however_that_ends() {
    let mut gateway = Gateway::start("", "");
    let device = canonicalize(gateway.board.path()).unwrap();
    let (device, process) = (device.display(), gateway.process.pid());
    let is_closed = format!("! ls -l /proc/{process}/fd | grep -q \" {device}$\"");
    let script = format!("{is_closed} && exit 7");
    let (code, errors) = gateway.run("lend", &["--", "sh", "-c", &script]);
    assert_eq!(code, Some(7), "{errors}");
    gateway.wait_until("port that is back", |it| it.source.state == LinkState::Up);

    for (signal, expected) in [("TERM", 143), ("KILL", 137)] {
        let script = format!("kill -{signal} $$");
        let (code, errors) = gateway.run("lend", &["--", "sh", "-c", &script]);
        assert_eq!(code, Some(expected), "{errors}");
    }
    let (code, errors) = gateway.run("lend", &["--", "fieldgate-test-no-such-program"]);
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("fieldgate-test-no-such-program"),
        "{errors}"
    );
    gateway.wait_until("port that is back", |it| it.source.state == LinkState::Up);
    gateway.end();
}

#[test]
fn a_port_comes_back_when_its_lender_is_killed_and_stays_held_for_an_operator() {
    let mut gateway = Gateway::start("", "");
    let mut lender = gateway.command("lend", &["--", "sleep", "1"]);
    let mut lender = lender.spawn().unwrap();
    gateway.wait_until("lease", |it| {
        it.source.state == LinkState::Held && it.source.lent_to.as_deref() == Some("sleep")
    });
    let (code, errors) = gateway.run("lend", &["--", "true"]);
    assert_eq!(code, Some(1));
    assert!(errors.contains("is lent to sleep already"), "{errors}");
    lender.kill().unwrap();
    lender.wait().unwrap();
    gateway.wait_until("port that is back", |it| {
        it.source.state == LinkState::Up && it.source.lent_to.is_none()
    });

    let hold = monitor::Command::To(Order::Hold, LinkId::source());
    gateway.ask(async |remote| remote.command(&hold).await);
    assert_eq!(gateway.run("lend", &["--", "true"]).0, Some(0));
    gateway.wait_until("lease that is over", |it| it.source.lent_to.is_none());
    assert_eq!(gateway.snapshot().source.state, LinkState::Held);
    gateway.end();
}
