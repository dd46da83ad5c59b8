//! Version 2: an upload gives a job, which is done when it is answered here, and contracts are described in as much detail as asked for.

use bytes::Bytes;
use http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::{Asking, Known, Refusal, answer, listed, time};
use crate::sources::{Files, Metadata};

/// Answers later.
type Finish = Box<dyn FnOnce(Response<Bytes>) + Send>;

#[derive(Deserialize)]
struct Upload<'a> {
    sources: Files,
    /// As it stands: its bytes count.
    #[serde(borrow)]
    metadata: &'a RawValue,
}

pub fn verify(asking: &Asking<'_>, place: (&str, &str), body: &[u8], finish: Finish) {
    let read = || {
        let address = asking.place(place)?;
        let malformed = |error: serde_json::Error| Refusal::new(StatusCode::BAD_REQUEST, error.to_string());
        let Upload { sources: mut files, metadata } = serde_json::from_slice(body).map_err(malformed)?;
        files.insert("metadata.json".to_owned(), metadata.get().to_owned());
        Ok((address, files))
    };
    let (address, files) = match read() {
        Ok(read) => read,
        Err(refusal) => return finish(refused(&refusal)),
    };
    asking.take(address, &files, move |known| {
        finish(match known {
            Ok(known) => answer(StatusCode::ACCEPTED, json!({"verificationId": job_id(&known)})),
            Err(refusal) => refused(&refusal),
        });
    });
}

/// Compiler input alone does not lead to the hash in the bytecode: for that it has to be compiled. A compiler would be a program
/// of somebody else's, of each version that there ever was, in the enclave of every node.
pub fn needs_compiler() -> Response<Bytes> {
    let refusal = Refusal::new(
        StatusCode::NOT_IMPLEMENTED,
        "Compiler error. This node has no compiler: upload the compiler's metadata.json with the sources to /v2/verify/metadata/{chainId}/{address}",
    );
    refused(&refusal.called("compiler_error"))
}

pub fn job(asking: &Asking<'_>, id: &str) -> Response<Bytes> {
    let known = id.parse().ok().and_then(|address| asking.known(address));
    match known {
        Some(known) => {
            let at = time::rfc3339(known.verified.at_ms);
            let times = [("jobStartTime", at.clone()), ("jobFinishTime", at)];
            let mut job = Map::from_iter(times.map(|(name, at)| (name.to_owned(), at.into())));
            job.insert("isJobCompleted".to_owned(), true.into());
            job.insert("verificationId".to_owned(), id.into());
            job.insert("contract".to_owned(), Value::Object(matched(asking, &known)));
            answer(StatusCode::OK, Value::Object(job))
        }
        None => {
            refused(&Refusal::new(StatusCode::NOT_FOUND, format!("No job found for id {id}")).called("job_not_found"))
        }
    }
}

pub fn contract(asking: &Asking<'_>, place: (&str, &str), query: &str) -> Response<Bytes> {
    let address = match asking.place(place) {
        Ok(address) => address,
        Err(refusal) => return refused(&refusal),
    };
    let Some(known) = asking.known(address) else {
        let unknown = json!({
            "match": null, "creationMatch": null, "runtimeMatch": null,
            "chainId": asking.chain_id(), "address": address.to_checksum(None),
        });
        return answer(StatusCode::NOT_FOUND, unknown);
    };
    let mut contract = matched(asking, &known);
    let fields = listed(query, "fields");
    let wanted = |name: &str| fields.iter().any(|field| field == "all" || field.split('.').next() == Some(name));
    let metadata: Value = serde_json::from_str(&known.upload.metadata).unwrap_or_default();
    if wanted("sources") {
        let file = |(path, content): (&String, &String)| (path.clone(), json!({"content": content}));
        contract.insert("sources".to_owned(), Value::Object(known.upload.sources.iter().map(file).collect()));
    }
    if wanted("compilation") {
        contract.insert("compilation".to_owned(), compilation(&known, &metadata));
    }
    if wanted("abi") {
        contract.insert("abi".to_owned(), metadata["output"]["abi"].clone());
    }
    if wanted("metadata") {
        contract.insert("metadata".to_owned(), metadata);
    }
    answer(StatusCode::OK, Value::Object(contract))
}

fn compilation(known: &Known, metadata: &Value) -> Value {
    let target = Metadata::parse(&known.upload.metadata).map(|read| read.settings.compilation_target);
    let (path, name) = target.ok().and_then(|mut target| target.pop_first()).unwrap_or_default();
    json!({
        "language": metadata["language"], "compiler": "solc", "compilerVersion": metadata["compiler"]["version"],
        "compilerSettings": metadata["settings"], "name": name, "fullyQualifiedName": format!("{path}:{name}"),
    })
}

fn matched(asking: &Asking<'_>, known: &Known) -> Map<String, Value> {
    let members = [
        ("match", "exact_match".into()),
        ("creationMatch", Value::Null),
        ("runtimeMatch", "exact_match".into()),
        ("chainId", asking.chain_id().into()),
        ("address", known.address.to_checksum(None).into()),
        ("verifiedAt", time::rfc3339(known.verified.at_ms).into()),
        ("matchId", job_id(known).into()),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The address: a contract has one job, and it is done.
fn job_id(known: &Known) -> String {
    known.address.to_checksum(None)
}

fn refused(refusal: &Refusal) -> Response<Bytes> {
    answer(refusal.status, json!({"customCode": refusal.code, "message": refusal.why, "errorId": refusal.code}))
}
