//! A Mosquitto and a VictoriaMetrics of our own, ended with the run.

use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A server that ends with this value.
pub struct Server {
    child: Child,
    pub port: u16,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders
        .iter()
        .map(|folder| PathBuf::from(folder).join(name));
    found
        .into_iter()
        .find(|path| path.exists())
        .unwrap_or_else(|| name.into())
}

fn start(mut command: Command, port: u16, folder: TempDir) -> Server {
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            Instant::now() < deadline,
            "{command:?} does not listen on port {port}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Server {
        child,
        port,
        _folder: folder,
    }
}

pub fn mosquitto() -> Server {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let config = folder.path().join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n"
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(program("mosquitto"));
    command.arg("-c").arg(config);
    start(command, port, folder)
}

pub fn victoria_metrics() -> Server {
    let (port, folder) = (free_port(), tempfile::tempdir().unwrap());
    let mut command = Command::new(program("victoria-metrics"));
    command
        .arg(format!("-httpListenAddr=127.0.0.1:{port}"))
        .arg(format!("-storageDataPath={}", folder.path().display()))
        .arg("-retentionPeriod=100y");
    start(command, port, folder)
}
