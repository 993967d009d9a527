//! The control lines of a port: what opening does to them, and the pulse that resets the board. Pure
//! but for the step itself.

use std::thread;
use std::time::Duration;

use serialport::{SerialPort, TTYPort};

use crate::config::{ControlLine, Reset};

/// Long enough for the capacitor between DTR and the reset of an Arduino, and for the EN of an ESP.
const PULSE: Duration = Duration::from_millis(100);

/// One change, or a wait between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Switches DTR.
    Dtr(bool),
    /// Switches RTS.
    Rts(bool),
    /// Lets time pass.
    Wait(Duration),
}

/// What is done to both lines when the port has been opened, which has switched both on.
///
/// RTS goes first: on a board with an ESP, RTS without DTR holds the chip in reset.
pub(super) fn at_opening(dtr: ControlLine, rts: ControlLine) -> Vec<Step> {
    let switch = |line| match line {
        ControlLine::Leave => None,
        ControlLine::On => Some(true),
        ControlLine::Off => Some(false),
    };
    let steps = [switch(rts).map(Step::Rts), switch(dtr).map(Step::Dtr)];
    steps.into_iter().flatten().collect()
}

/// The pulse that resets the board; the lines end as they are while the port is open.
pub(super) fn pulse(reset: Reset, dtr: ControlLine, rts: ControlLine) -> Vec<Step> {
    let is_on = |line| line != ControlLine::Off;
    let (dtr, rts) = (is_on(dtr), is_on(rts));
    match reset {
        Reset::None => Vec::new(),
        Reset::Dtr => vec![Step::Dtr(!dtr), Step::Wait(PULSE), Step::Dtr(dtr)],
        Reset::Rts => vec![Step::Rts(!rts), Step::Wait(PULSE), Step::Rts(rts)],
        // RTS alone pulls EN, DTR alone pulls the pin that asks for the boot loader: it must be off
        // when EN comes back, and DTR must be on before RTS is.
        Reset::Esp => vec![
            Step::Dtr(false),
            Step::Rts(true),
            Step::Wait(PULSE),
            Step::Rts(false),
            Step::Wait(PULSE),
            Step::Dtr(dtr),
            Step::Rts(rts),
        ],
    }
}

/// Does the steps one after the other, up to the first that the port refuses.
pub(super) fn go(port: &mut TTYPort, steps: &[Step]) -> serialport::Result<()> {
    steps.iter().try_for_each(|step| match *step {
        Step::Dtr(on) => port.write_data_terminal_ready(on),
        Step::Rts(on) => port.write_request_to_send(on),
        Step::Wait(time) => {
            thread::sleep(time);
            Ok(())
        }
    })
}

#[cfg(test)]
mod tests {
    use super::ControlLine::{Leave, Off, On};
    use super::Step::{Dtr, Rts, Wait};
    use super::*;

    #[test]
    fn opening_touches_no_line_that_is_to_be_left() {
        assert_eq!(at_opening(Leave, Leave), []);
        assert_eq!(at_opening(On, Leave), [Dtr(true)]);
        assert_eq!(at_opening(Leave, Off), [Rts(false)]);
        assert_eq!(at_opening(Off, Off), [Rts(false), Dtr(false)]);
    }

    #[test]
    fn a_pulse_goes_from_the_line_as_it_is_and_back() {
        let wait = Wait(PULSE);
        for (reset, dtr, rts, expected) in [
            (Reset::None, On, On, &[][..]),
            (Reset::Dtr, On, On, &[Dtr(false), wait, Dtr(true)]),
            (Reset::Dtr, Leave, Off, &[Dtr(false), wait, Dtr(true)]),
            (Reset::Dtr, Off, On, &[Dtr(true), wait, Dtr(false)]),
            (Reset::Rts, Off, On, &[Rts(false), wait, Rts(true)]),
            (Reset::Rts, On, Off, &[Rts(true), wait, Rts(false)]),
        ] {
            assert_eq!(
                pulse(reset, dtr, rts),
                expected,
                "{reset:?} {dtr:?} {rts:?}"
            );
        }
    }

    /// The two transistors of such a board, by the states of DTR and RTS.
    fn esp(dtr: bool, rts: bool) -> (bool, bool) {
        let (is_enabled, wants_boot_loader) = (!rts || dtr, dtr && !rts);
        (is_enabled, wants_boot_loader)
    }

    #[test]
    fn an_esp_is_reset_once_and_starts_its_program() {
        for (dtr_key, rts_key) in [(On, On), (Leave, Leave), (Off, Off), (On, Off)] {
            let (mut dtr, mut rts) = (dtr_key != Off, rts_key != Off);
            let (mut resets, mut before) = (0, esp(dtr, rts));
            for step in pulse(Reset::Esp, dtr_key, rts_key) {
                match step {
                    Dtr(on) => dtr = on,
                    Rts(on) => rts = on,
                    Wait(_) => {}
                }
                let now = esp(dtr, rts);
                if now.0 && !before.0 {
                    resets += 1;
                    assert!(!now.1, "it starts the boot loader");
                }
                before = now;
            }
            assert_eq!(resets, 1, "{dtr_key:?} {rts_key:?}");
            assert!(before.0, "it is held in reset: {dtr_key:?} {rts_key:?}");
        }
    }
}
