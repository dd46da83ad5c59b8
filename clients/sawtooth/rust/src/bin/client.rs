//! A client on the published SDK: makes batches, hands them in at the component endpoint, waits for their end and prints it.
//!
//! `client tcp://127.0.0.1:4004 intkey NAME COUNT` sets a number and increases it COUNT times; `client URL xo NAME` plays a game.

use std::time::Duration;

use protobuf::{Message, RepeatedField};
use sawtooth_sdk::messages::batch::{Batch, BatchHeader};
use sawtooth_sdk::messages::client_batch_submit::{
    ClientBatchStatusRequest, ClientBatchStatusResponse, ClientBatchSubmitRequest, ClientBatchSubmitResponse,
};
use sawtooth_sdk::messages::client_state::{ClientStateGetRequest, ClientStateGetResponse};
use sawtooth_sdk::messages::transaction::{Transaction, TransactionHeader};
use sawtooth_sdk::messages::validator::Message_MessageType as MessageType;
use sawtooth_sdk::messaging::stream::{MessageConnection, MessageSender};
use sawtooth_sdk::messaging::zmq_stream::{ZmqMessageConnection, ZmqMessageSender};
use sawtooth_sdk::signing::{CryptoFactory, Signer, create_context};
use sha2::{Digest, Sha512};

const WAIT: Duration = Duration::from_secs(60);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, family, name, rest @ ..] = arguments.as_slice() else { panic!("a URL, a family and a name") };
    let payloads = match family.as_str() {
        "intkey" => {
            let count: u32 = rest.first().map_or(1, |count| count.parse().expect("a number"));
            let set = intkey("set", name, 1);
            std::iter::once(set).chain((0..count).map(|_| intkey("inc", name, 1))).collect::<Vec<_>>()
        }
        // The first player has a row after five moves.
        "xo" => ["create,", "take,1", "take,4", "take,2", "take,5", "take,3"]
            .map(|action| format!("{name},{action}").into_bytes())
            .to_vec(),
        other => panic!("{other} is no family of this client"),
    };
    let address = match family.as_str() {
        "intkey" => format!("1cf126{}", &hex(name)[64..]),
        _ => format!("5b7349{}", &hex(name)[..64]),
    };
    let context = create_context("secp256k1").unwrap();
    let players = [context.new_random_private_key().unwrap(), context.new_random_private_key().unwrap()];
    let factory = CryptoFactory::new(context.as_ref());
    let signers = [factory.new_signer(players[0].as_ref()), factory.new_signer(players[1].as_ref())];
    let mut after = String::new();
    let batches: Vec<Batch> = payloads
        .into_iter()
        .enumerate()
        .map(|(turn, payload)| {
            // Players of xo take turns; whoever creates a game does not move with it.
            let signer = if family == "xo" && turn > 0 && turn % 2 == 0 { &signers[1] } else { &signers[0] };
            let batch = batch(signer, family, &address, payload, turn, &after);
            after = batch.transactions[0].header_signature.clone();
            batch
        })
        .collect();

    let (sender, _receiver) = ZmqMessageConnection::new(url).create();
    let transactions: Vec<String> =
        batches.iter().map(|batch| batch.transactions[0].header_signature.clone()).collect();
    let ids: Vec<String> = batches.iter().map(|batch| batch.header_signature.clone()).collect();
    let mut request = ClientBatchSubmitRequest::new();
    request.set_batches(RepeatedField::from_vec(batches));
    let response: ClientBatchSubmitResponse = ask(&sender, MessageType::CLIENT_BATCH_SUBMIT_REQUEST, &request);
    println!("submitted {:?}", response.get_status());
    let mut request = ClientBatchStatusRequest::new();
    request.set_batch_ids(RepeatedField::from_vec(ids));
    request.set_wait(true);
    request.set_timeout(WAIT.as_secs() as u32);
    let response: ClientBatchStatusResponse = ask(&sender, MessageType::CLIENT_BATCH_STATUS_REQUEST, &request);
    for status in response.get_batch_statuses() {
        println!("{:?}", status.get_status());
    }
    let mut request = ClientStateGetRequest::new();
    request.set_address(address);
    let response: ClientStateGetResponse = ask(&sender, MessageType::CLIENT_STATE_GET_REQUEST, &request);
    println!("transactions {}", transactions.join(" "));
    println!("state {}", String::from_utf8_lossy(response.get_value()));
    println!("bytes {:?}", response.get_value());
}

fn batch(signer: &Signer, family: &str, address: &str, payload: Vec<u8>, turn: usize, after: &str) -> Batch {
    let key = signer.get_public_key().unwrap().as_hex();
    let places = RepeatedField::from_vec(vec![address.to_owned()]);
    let mut header = TransactionHeader::new();
    header.set_family_name(family.to_owned());
    header.set_family_version("1.0".to_owned());
    header.set_signer_public_key(key.clone());
    header.set_batcher_public_key(key.clone());
    header.set_inputs(places.clone());
    header.set_outputs(places);
    header.set_nonce(turn.to_string());
    header.set_payload_sha512(format!("{:x}", Sha512::digest(&payload)));
    if !after.is_empty() {
        header.set_dependencies(RepeatedField::from_vec(vec![after.to_owned()]));
    }
    let header = header.write_to_bytes().unwrap();
    let mut transaction = Transaction::new();
    transaction.set_header_signature(signer.sign(&header).unwrap());
    transaction.set_header(header);
    transaction.set_payload(payload);
    let mut header = BatchHeader::new();
    header.set_signer_public_key(key);
    header.set_transaction_ids(RepeatedField::from_vec(vec![transaction.header_signature.clone()]));
    let header = header.write_to_bytes().unwrap();
    let mut batch = Batch::new();
    batch.set_header_signature(signer.sign(&header).unwrap());
    batch.set_header(header);
    batch.set_transactions(RepeatedField::from_vec(vec![transaction]));
    batch
}

fn ask<M: Message>(sender: &ZmqMessageSender, kind: MessageType, request: &impl Message) -> M {
    let mut future = sender.send(kind, &format!("{kind:?}"), &request.write_to_bytes().unwrap()).unwrap();
    let answer = future.get_timeout(WAIT + Duration::from_secs(5)).expect("an answer");
    M::parse_from_bytes(answer.get_content()).expect("the answer decodes")
}

/// A CBOR map of three entries.
fn intkey(verb: &str, name: &str, value: u8) -> Vec<u8> {
    let text = |text: &str| [&[0x60 + text.len() as u8], text.as_bytes()].concat();
    let entries = [text("Verb"), text(verb), text("Name"), text(name), text("Value"), vec![value]];
    [vec![0xa3], entries.concat()].concat()
}

fn hex(name: &str) -> String {
    format!("{:x}", Sha512::digest(name.as_bytes()))
}
