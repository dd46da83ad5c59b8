//! What a backup says to the primary about the processors that are connected to it. Between nodes of one version only.

use bytes::Bytes;

use super::Envelope;
use super::processor::TpRegisterRequest;

/// A message to the primary. It holds one of the two.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Relayed {
    /// The backup's name for its time under this primary: nobody else knows it.
    #[prost(string, tag = "1")]
    pub link: String,
    #[prost(message, optional, tag = "2")]
    pub poll: Option<Poll>,
    #[prost(message, optional, tag = "3")]
    pub said: Option<Said>,
}

/// Who is there, and that work may come back.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Poll {
    /// A later poll holds in place of an earlier one.
    #[prost(uint64, tag = "1")]
    pub number: u64,
    #[prost(message, repeated, tag = "2")]
    pub offers: Vec<Offer>,
}

/// A connection of the backup, and the families it registered for.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Offer {
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    #[prost(message, repeated, tag = "2")]
    pub families: Vec<TpRegisterRequest>,
    /// It has proved what it is, and the backup has judged it for each of its families.
    #[prost(bool, tag = "3")]
    pub attested: bool,
}

/// A processor said something about what the primary gave it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Said {
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    #[prost(message, optional, tag = "2")]
    pub envelope: Option<Envelope>,
}

/// The answer to either: what is for the backup's processors.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Handed {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<Item>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Item {
    #[prost(uint64, tag = "1")]
    pub connection: u64,
    #[prost(message, optional, tag = "2")]
    pub envelope: Option<Envelope>,
}

/// The one field that all of a processor's requests about a transaction have in common.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct ContextOnly {
    #[prost(string, tag = "1")]
    pub context_id: String,
}

impl Item {
    /// About what it takes in a message.
    pub fn bytes(&self) -> usize {
        self.envelope.as_ref().map_or(0, |envelope| envelope.content.len() + envelope.correlation_id.len()) + 32
    }
}

impl Handed {
    pub fn bytes(&self) -> Bytes {
        prost::Message::encode_to_vec(self).into()
    }
}
