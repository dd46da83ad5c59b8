//! The node's own families as a transaction processor: it connects to a validator, registers for one family, and executes that with the
//! node's code. So the original's tests of its processors, which play the validator, can judge it (`clients/sawtooth/native.py`).
//!
//! The node takes a transaction's writes when it is done, so they are sent behind all reads.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;

use bytes::Bytes;
use coco_sawtooth::address::Address;
use coco_sawtooth::execute::{Access, StateReader};
use coco_sawtooth::families::{self, Call, Facts, Native};
use coco_sawtooth::limits::BATCH_FUEL;
use coco_sawtooth::messages::ledger::{TransactionHeader, state_change_kind};
use coco_sawtooth::messages::processor::{
    StatusSecond, TpAddressesRequest, TpAddressesResponse, TpEventAddRequest, TpProcessRequest, TpProcessResponse,
    TpRegisterRequest, TpRegisterResponse, TpStateEntry, TpStateGetResponse, TpStateSetRequest, tp_process_status,
};
use coco_sawtooth::messages::{Envelope, kind};
use prost::Message;

/// ZMTP 3: a long frame, a command.
const LONG: u8 = 2;
const COMMAND: u8 = 4;

/// A connection to a validator, which is asked one thing at a time.
struct Validator {
    stream: TcpStream,
    asked: u64,
}

/// The state as one transaction's context shows it.
struct Shown<'a> {
    validator: &'a mut Validator,
    context_id: &'a str,
    lost: Option<Error>,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, address, family, version] = arguments.as_slice() else {
        return Err(Error::other("usage: native_processor HOST:PORT FAMILY VERSION"));
    };
    let native = families::core(family, version).or_else(|| families::example(family, version));
    let native = native.ok_or_else(|| Error::other(format!("{family} {version} is not in the node")))?;
    let mut validator = Validator::connect(address)?;
    let request = TpRegisterRequest { family: family.clone(), version: version.clone(), ..Default::default() };
    let _: TpRegisterResponse = validator.ask(kind::TP_REGISTER_REQUEST, &request)?;
    loop {
        let asked = validator.receive()?;
        if asked.message_type == kind::TP_PROCESS_REQUEST {
            let response = validator.execute(native, &TpProcessRequest::decode(asked.content)?)?;
            validator.send(&Envelope::new(kind::TP_PROCESS_RESPONSE, asked.correlation_id, &response))?;
        }
    }
}

impl Validator {
    fn connect(address: &str) -> Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let mut greeting = [0; 64];
        (greeting[0], greeting[9], greeting[10]) = (0xff, 0x7f, 3);
        greeting[12..16].copy_from_slice(b"NULL");
        stream.write_all(&greeting)?;
        let ready = b"\x05READY\x0bSocket-Type\0\0\0\x06DEALER";
        stream.write_all(&[&[COMMAND, ready.len() as u8], &ready[..]].concat())?;
        stream.read_exact(&mut greeting)?;
        Ok(Self { stream, asked: 0 })
    }

    fn execute(&mut self, native: Native, request: &TpProcessRequest) -> Result<TpProcessResponse> {
        let header = request.header.clone().unwrap_or_default();
        // Whether it may touch what it touches is the validator's to judge.
        let everything = vec![String::new()];
        let open = TransactionHeader { inputs: everything.clone(), outputs: everything, ..header.clone() };
        let mut access = Access::new(&request.signature, &open).map_err(Error::other)?;
        let mut below = Shown { validator: self, context_id: &request.context_id, lost: None };
        let (mut fuel, payload) = (BATCH_FUEL, &request.payload);
        let mut call = Call { header: &header, payload, access: &mut access, below: &mut below, fuel: &mut fuel };
        let executed = native(&mut call, &Facts::default());
        if let Some(lost) = below.lost {
            return Err(lost);
        }
        match executed {
            Ok(()) => self.write(access, &request.context_id)?,
            Err(families::Invalid(message)) => {
                let status = tp_process_status::INVALID_TRANSACTION;
                return Ok(TpProcessResponse { status, message, extended_data: Bytes::new() });
            }
        }
        Ok(TpProcessResponse { status: tp_process_status::OK, ..Default::default() })
    }

    fn write(&mut self, access: Access, context_id: &str) -> Result<()> {
        let (_, receipt) = access.finish();
        for change in receipt.state_changes {
            let (context_id, address) = (context_id.to_owned(), change.address);
            let _: TpAddressesResponse = if change.kind == state_change_kind::SET {
                let entries = vec![TpStateEntry { address, data: change.value }];
                self.ask(kind::TP_STATE_SET_REQUEST, &TpStateSetRequest { context_id, entries })?
            } else {
                let request = TpAddressesRequest { context_id, addresses: vec![address] };
                self.ask(kind::TP_STATE_DELETE_REQUEST, &request)?
            };
        }
        for event in receipt.events {
            let request = TpEventAddRequest { context_id: context_id.to_owned(), event: Some(event) };
            let _: StatusSecond = self.ask(kind::TP_EVENT_ADD_REQUEST, &request)?;
        }
        Ok(())
    }

    fn ask<M: Message + Default>(&mut self, message_type: i32, request: &impl Message) -> Result<M> {
        self.asked += 1;
        let id = self.asked.to_string();
        self.send(&Envelope::new(message_type, id.clone(), request))?;
        loop {
            let answer = self.receive()?;
            if answer.correlation_id == id {
                return Ok(M::decode(answer.content)?);
            }
        }
    }

    fn send(&mut self, envelope: &Envelope) -> Result<()> {
        let bytes = envelope.bytes();
        let mut frame = vec![LONG];
        frame.extend((bytes.len() as u64).to_be_bytes());
        frame.extend_from_slice(&bytes);
        self.stream.write_all(&frame)
    }

    fn receive(&mut self) -> Result<Envelope> {
        loop {
            let [flags] = self.read()?;
            let length = if flags & LONG == 0 {
                let [length] = self.read()?;
                u64::from(length)
            } else {
                u64::from_be_bytes(self.read()?)
            };
            let mut body = vec![0; usize::try_from(length).map_err(|_| ErrorKind::InvalidData)?];
            self.stream.read_exact(&mut body)?;
            if flags & COMMAND == 0 {
                return Ok(Envelope::decode(body.as_slice())?);
            }
        }
    }

    fn read<const BYTES: usize>(&mut self) -> Result<[u8; BYTES]> {
        let mut bytes = [0; BYTES];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl StateReader for Shown<'_> {
    fn read(&mut self, address: &Address) -> Option<Bytes> {
        let request = TpAddressesRequest { context_id: self.context_id.to_owned(), addresses: vec![address.to_hex()] };
        let answer: Result<TpStateGetResponse> = self.validator.ask(kind::TP_STATE_GET_REQUEST, &request);
        match answer {
            Ok(answer) => answer.entries.into_iter().next().map(|entry| entry.data).filter(|data| !data.is_empty()),
            Err(error) => {
                self.lost.get_or_insert(error);
                None
            }
        }
    }
}
