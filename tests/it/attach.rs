//! Two terminals attached to one gateway, through its restart.

use crate::support::{Fieldgate, Mosquitto, PATIENCE, Port, Signal, Terminal};

const SIZE: (u16, u16) = (110, 30);

#[test]
fn two_terminals_see_a_gateway_through_its_restart_and_leave_it_running() {
    let broker = Mosquitto::start();
    let port = Port::reserve();
    let listen = format!("127.0.0.1:{}", port.number());
    let mut gateway = Fieldgate::new(&format!(
        "[source]\nkind = \"simulator\"\nrate = 20\n[mqtt]\nbroker_url = \"{}\"\n\
         [api]\nlisten = \"{listen}\"\n",
        broker.url()
    ))
    .start();
    let url = format!("http://{listen}");
    let mut terminals = [0; 2].map(|_| Terminal::start(SIZE, &["attach", &url]));
    for terminal in &terminals {
        terminal.wait_for("temperature");
        terminal.wait_for(&url);
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
    for terminal in &terminals {
        terminal.wait_for("lost");
    }
    gateway.start_again();
    for terminal in &mut terminals {
        terminal.wait_until("the gateway again", |screen| {
            !screen.contains("lost") && screen.contains("temperature")
        });
        terminal.type_keys("q");
        assert_eq!(terminal.wait_exit(), 0);
        terminal.assert_restored();
    }
    gateway.signal(Signal::SIGTERM);
    assert!(gateway.wait_exit(PATIENCE).success());
}
