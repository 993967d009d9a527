//! Brokers that count: one of the tests' own, and a tap on the way to a real one.

mod contract_broker;
mod packet;
mod record;
mod tap;

pub(crate) use contract_broker::{Conduct, ContractBroker};
pub(crate) use record::{Publish, Session};
pub(crate) use tap::Tap;
