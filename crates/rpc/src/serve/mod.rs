//! One listener: from an accepted connection to a [`coco_protocol::Service`] and back.

mod body;
mod budget;
mod connections;
mod feed;
mod http;
mod limits;
mod listener;
mod observed;
mod routes;
mod socket;
mod stream;
mod turns;
mod workers;

pub use limits::ListenerLimits;
pub use listener::{Listener, Server};
pub use workers::{Aside, Job};

pub(crate) use listener::bind;
pub(crate) use turns::OWN;
pub(crate) use workers::Workers;
