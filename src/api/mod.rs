//! The same voice for programs: what a command line asks an engine, over a unix socket.
//!
//! One request per connection, as one line of JSON; the answer is a stream of lines, each a [`wire::Message`], the
//! last one [`wire::Message::Done`] or [`wire::Message::Failed`]. Closing the connection cancels nothing but the view;
//! a second line, [`wire::Request::Interrupt`], asks the operation to stop, or to wait no longer for its turn.

pub mod client;
pub mod wire;
