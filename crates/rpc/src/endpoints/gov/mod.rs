//! Governance over HTTP, `/gov/…`, in CCF's form of the year 2024: reads are open to all, writes are signed by members.
//!
//! As under `/node`, one table says what there is, and the OpenAPI document is made of it. Paths have parameters here, and a write's last
//! part ends in a verb: `POST /gov/members/proposals/{proposalId}:withdraw`.

mod api;
mod application;
mod elsewhere;
mod events;
mod members;
mod proposals;
mod service;
mod tokens;
mod writes;

use std::sync::Arc;

use bytes::Bytes;
use coco_governance::disclosure::GOVERNANCE;
use coco_governance::{Code, Refusal};
use coco_kv::Snapshot;
use coco_protocol::{
    ApiError, Caller, Gate, Identity, Mount, Reply, Rest, Service, Subject, bindings, percent_decoded,
};
use http::header::{ALLOW, HeaderValue};
use http::{Method, Request, Response, StatusCode};

pub use api::{GovApi, Governed, Listener, Past};
pub use elsewhere::GovElsewhere;

use super::openapi::{Described, document_of};
use super::request::{content, parameter, with_transaction_id};

const API_VERSION: &str = "2024-07-01";
const QUERY: &[(&str, bool, &str)] = &[("api-version", true, "2024-07-01")];
const CASE: (&str, bool, &str) = ("case", false, "original: properties as they were installed");
const JSON: &[&str] = &["application/json"];
const EVENTS: &[&str] = &["text/event-stream"];
const JAVASCRIPT: &[&str] = &["text/javascript"];

/// Serves `/gov`.
pub struct GovEndpoints {
    gov: Arc<dyn GovApi>,
}

/// A request whose route was found.
pub(crate) struct Exchange<'a> {
    pub(crate) gov: &'a Arc<dyn GovApi>,
    pub(crate) caller: Caller,
    pub(crate) request: Request<Bytes>,
    /// What stands in the path where the route has braces, in order.
    pub(crate) names: Vec<String>,
    pub(crate) reply: Reply,
}

/// Who asks, and who decides what they are told.
pub(crate) struct Told<'a> {
    caller: &'a Caller,
    gate: &'a dyn Gate,
}

impl Told<'_> {
    /// Whether the caller may know this of whom `id` names.
    pub(crate) fn of(&self, kind: &str, id: &str) -> bool {
        let parties = [Identity::Member(id.to_owned()), Identity::Participant(id.to_owned())];
        let parties = parties.map(|identity| bindings::principal_digest(&identity));
        let parties = parties.each_ref().map(|party| party.as_bytes().as_slice());
        self.gate.permits(self.caller, &Subject { ledger: GOVERNANCE, kind, name: id.as_bytes(), parties: &parties })
    }
}

pub(crate) type Answer = Result<Response<Bytes>, ApiError>;

/// How a route is answered.
#[derive(Clone, Copy)]
pub(crate) enum Handler {
    /// From committed state.
    Read(fn(&mut Snapshot, &[String]) -> Answer),
    /// From committed state, as far as the gate lets the caller know.
    Tell(fn(&mut Snapshot, &[String], &Told<'_>) -> Answer),
    /// From more than the state.
    Ask(fn(&Exchange<'_>) -> Answer),
    /// By the primary, some time later.
    Write(fn(Exchange<'_>)),
}

struct Route {
    method: Method,
    path: &'static str,
    summary: &'static str,
    answers: (&'static [&'static str], &'static str),
    body: Option<&'static str>,
    handler: Handler,
}

const fn get(
    path: &'static str,
    summary: &'static str,
    answers: (&'static [&'static str], &'static str),
    handler: Handler,
) -> Route {
    Route { method: Method::GET, path, summary, answers, body: None, handler }
}

const fn post(
    path: &'static str,
    summary: &'static str,
    answers: (&'static [&'static str], &'static str),
    handler: fn(Exchange<'_>),
) -> Route {
    Route {
        method: Method::POST,
        path,
        summary,
        answers,
        body: Some("application/cose"),
        handler: Handler::Write(handler),
    }
}

use Handler::{Ask, Read, Tell};

const PROPOSAL: (&[&str], &str) = (JSON, "The proposal");

const ROUTES: &[Route] = &[
    get("/gov/api", "This document", (JSON, "OpenAPI 3.0"), Ask(document)),
    Route {
        method: Method::POST,
        path: "/gov/coco/proposals:simulate",
        summary: "What a proposal would do now, for members that prove themselves by their TLS certificate",
        answers: (JSON, "Sentences, and the rows that would change"),
        body: Some("application/json"),
        handler: Handler::Write(writes::simulate),
    },
    get(
        "/gov/coco/service/endorsements",
        "How each service of this ledger endorsed the one before it, newest first",
        (JSON, "The endorsements"),
        Read(service::endorsements),
    ),
    get(
        events::PATH,
        "What happens in governance, as it happens, from the event on that Last-Event-ID names",
        (EVENTS, "Events without end"),
        Ask(events::events),
    ),
    get(
        "/gov/members/proposals",
        "Proposals that are open or newly settled",
        (JSON, "The proposals"),
        Read(proposals::all),
    ),
    post("/gov/members/proposals:create", "Proposes", PROPOSAL, writes::create),
    get("/gov/members/proposals/{proposalId}", "A proposal", PROPOSAL, Read(proposals::one)),
    post(
        "/gov/members/proposals/{proposalId}:withdraw",
        "Withdraws the member's own proposal",
        (JSON, "The proposal; 204 if there is none"),
        writes::withdraw,
    ),
    get(
        "/gov/members/proposals/{proposalId}/actions",
        "What was proposed",
        (JSON, "As submitted"),
        Tell(proposals::actions),
    ),
    get(
        "/gov/members/proposals/{proposalId}/ballots/{memberId}",
        "A member's ballot",
        (JAVASCRIPT, "The ballot"),
        Tell(proposals::ballot),
    ),
    post("/gov/members/proposals/{proposalId}/ballots/{memberId}:submit", "Votes", PROPOSAL, writes::vote),
    get(
        "/gov/members/state-digests/{memberId}",
        "What a member was asked to acknowledge",
        (JSON, "The digest"),
        Read(members::digest),
    ),
    post(
        "/gov/members/state-digests/{memberId}:ack",
        "Acknowledges the state",
        (&[], "The member is active"),
        writes::acknowledge,
    ),
    post(
        "/gov/members/state-digests/{memberId}:update",
        "Asks for the present state's digest",
        (JSON, "The digest"),
        writes::update_digest,
    ),
    get(
        "/gov/recovery/encrypted-shares/{memberId}",
        "A member's recovery share, encrypted to the member",
        (JSON, "The share"),
        Read(members::share),
    ),
    post(
        "/gov/recovery/members/{memberId}:recover",
        "Hands in a member's recovery share",
        (JSON, "How many are there"),
        writes::submit_share,
    ),
    get(
        "/gov/service/constitution",
        "The constitution in force",
        (JAVASCRIPT, "The module"),
        Read(service::constitution),
    ),
    get(
        "/gov/service/javascript-app",
        "The application's endpoints, below /app",
        (JSON, "By path and method"),
        Ask(application::endpoints),
    ),
    get(
        "/gov/service/javascript-modules",
        "The application's modules",
        (JSON, "Their names"),
        Read(application::modules),
    ),
    get(
        "/gov/service/javascript-modules/{moduleName}",
        "A module of the application, by its URL-encoded name",
        (JAVASCRIPT, "Its source"),
        Read(application::module),
    ),
    get("/gov/service/info", "The service", (JSON, "Its status and configuration"), Ask(service::info)),
    get(
        "/gov/service/join-policy",
        "What code may join",
        (JSON, "Measurements by platform"),
        Read(service::join_policy),
    ),
    get(
        "/gov/service/jwk",
        "Issuers whose tokens are taken, and their keys",
        (JSON, "Issuers by name, keys by id"),
        Read(tokens::jwk),
    ),
    get(
        "/gov/service/js-modules",
        "The application's modules, by CCF's other name",
        (JSON, "Their names"),
        Read(application::modules),
    ),
    get(
        "/gov/service/js-modules/{moduleName}",
        "A module of the application, by CCF's other name",
        (JAVASCRIPT, "Its source"),
        Read(application::module),
    ),
    get("/gov/service/members", "The members", (JSON, "The members"), Tell(members::members)),
    get("/gov/service/members/{memberId}", "A member", (JSON, "The member"), Tell(members::member)),
    get("/gov/service/nodes", "The nodes", (JSON, "The nodes"), Read(service::nodes)),
    get("/gov/service/nodes/{nodeId}", "A node", (JSON, "The node"), Read(service::node)),
    get(
        "/gov/service/transactions/commit",
        "The newest committed transaction",
        (JSON, "Its status"),
        Ask(service::commit),
    ),
    get(
        "/gov/service/transactions/{transactionId}",
        "Where a transaction stands",
        (JSON, "Its status"),
        Ask(service::transaction),
    ),
    get("/gov/service/users", "The participants", (JSON, "The participants"), Tell(members::users)),
    get("/gov/service/users/{userId}", "A participant", (JSON, "The participant"), Tell(members::user)),
];

impl GovEndpoints {
    pub fn new(gov: Arc<dyn GovApi>) -> Arc<Self> {
        Arc::new(Self { gov })
    }
}

impl Service for GovEndpoints {
    fn mount(&self) -> Mount {
        Mount::Path("/gov")
    }

    fn begin(&self, caller: Caller, request: Request<Bytes>, reply: Reply) -> Option<Rest> {
        if !events::may_take_long(&request) {
            self.call(caller, request, reply);
            return None;
        }
        let again = Self { gov: Arc::clone(&self.gov) };
        let held_bytes = request.body().len();
        Some(Rest { job: Box::new(move || again.call(caller, request, reply)), held_bytes })
    }

    fn call(&self, caller: Caller, request: Request<Bytes>, reply: Reply) {
        match find(&request) {
            Ok((route, names)) => {
                let exchange = Exchange { gov: &self.gov, caller, request, names, reply };
                exchange.handle(route);
            }
            Err(response) => reply(*response),
        }
    }
}

impl Exchange<'_> {
    fn handle(self, route: &Route) {
        let answer = match route.handler {
            Handler::Write(handler) => return handler(self),
            Handler::Ask(handler) => handler(&self),
            Handler::Tell(handler) => {
                let told = Told { caller: &self.caller, gate: self.gov.gate() };
                let (txid, mut state) = self.gov.state(&self.caller);
                handler(&mut state, &self.names, &told).map(|response| with_transaction_id(response, txid))
            }
            Handler::Read(handler) => {
                let (txid, mut state) = self.gov.state(&self.caller);
                handler(&mut state, &self.names).map(|response| with_transaction_id(response, txid))
            }
        };
        (self.reply)(answer.unwrap_or_else(ApiError::into_response));
    }
}

/// The route of a request and the names in its path, or the refusal.
fn find(request: &Request<Bytes>) -> Result<(&'static Route, Vec<String>), Box<Response<Bytes>>> {
    let path = request.uri().path();
    let matching: Vec<_> = ROUTES.iter().filter_map(|route| Some((route, names(route.path, path)?))).collect();
    let refuse = |error: ApiError| Err(Box::new(error.into_response()));
    let Some((first, _)) = matching.first() else {
        return refuse(error(Code::ResourceNotFound, format!("there is nothing at {path}")));
    };
    // A name that is spelt out comes before one in braces.
    let of_method = matching.iter().filter(|(route, _)| route.method == *request.method());
    let Some((route, names)) = of_method.min_by_key(|(_, names)| names.len()) else {
        let message = format!("{} answers {} only", first.path, first.method);
        let mut response = error(Code::UnsupportedHttpVerb, message).into_response();
        response.headers_mut().extend(HeaderValue::from_str(first.method.as_str()).map(|method| (ALLOW, method)));
        return Err(Box::new(response));
    };
    if route.path != "/gov/api" {
        check_version(request).map_err(|error| Box::new(error.into_response()))?;
    }
    let checked: Result<Vec<_>, _> = names.iter().map(|name| checked_name(route, name)).collect();
    match checked {
        Ok(names) => Ok((route, names)),
        Err(error) => refuse(error),
    }
}

/// What stands where `template` has braces, if `path` is of its form.
fn names(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut names, mut parts) = (Vec::new(), path.split('/'));
    for wanted in template.split('/') {
        let part = parts.next()?;
        match wanted.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((_, verb)) => {
                let name = part.strip_suffix(verb)?;
                // Without a verb in the template there must be none in the path.
                if name.is_empty() || name.contains(':') {
                    return None;
                }
                names.push(name.to_owned());
            }
            None if wanted == part => {}
            None => return None,
        }
    }
    parts.next().is_none().then_some(names)
}

/// Ids are 64 hexadecimal digits and are stored in lower case.
fn checked_name(route: &Route, name: &str) -> Result<String, ApiError> {
    let is_id = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_id || route.path.ends_with("{transactionId}") {
        return Ok(name.to_ascii_lowercase());
    }
    if route.path.ends_with("{moduleName}") {
        return percent_decoded(name)
            .ok_or_else(|| error(Code::InvalidResourceName, format!("{name} is no URL-encoded name")));
    }
    Err(error(Code::InvalidResourceName, format!("{name} is no id: ids have 64 hexadecimal digits")))
}

fn check_version(request: &Request<Bytes>) -> Result<(), ApiError> {
    match parameter(request, "api-version") {
        Ok(API_VERSION) => Ok(()),
        Ok(other) => {
            let message = format!("there is no api-version {other}: use {API_VERSION}");
            Err(error(Code::UnsupportedApiVersionValue, message))
        }
        Err(_) => Err(error(
            Code::MissingApiVersionParameter,
            format!("the query parameter api-version is missing or given twice: use api-version={API_VERSION}"),
        )),
    }
}

/// As many names as the route has braces, which [`find`] has seen to.
pub(crate) fn names_of<const N: usize>(exchange: &Exchange<'_>) -> [String; N] {
    let names = exchange.names.clone();
    names.try_into().unwrap_or_else(|names| panic!("a route of {N} names was found with {names:?}"))
}

/// All of `/gov` answers with codes of one list, which the OpenAPI document names.
pub(crate) fn error(code: Code, message: impl Into<String>) -> ApiError {
    let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ApiError::new(status, code.name(), message)
}

pub(crate) fn told(refusal: Refusal) -> ApiError {
    error(refusal.code, refusal.message)
}

/// A row of this network that this software cannot read.
pub(crate) fn unreadable(error: &coco_governance::Error) -> ApiError {
    self::error(Code::InternalError, error.to_string())
}

/// Rows of a listing, in CCF's wrapping.
pub(crate) fn listing(value: &[serde_json::Value]) -> Response<Bytes> {
    super::request::json(&serde_json::json!({ "value": value }))
}

fn document(_exchange: &Exchange<'_>) -> Answer {
    Ok(content("application/json", text().into()))
}

fn text() -> String {
    let described = ROUTES.iter().map(|route| Described {
        method: &route.method,
        path: route.path,
        summary: route.summary,
        query: match route.path {
            "/gov/api" => &[],
            "/gov/service/javascript-app" => const { &[QUERY[0], CASE] },
            _ => QUERY,
        },
        answers: route.answers,
        body: route.body,
    });
    document_of("Coco governance", described, Code::ALL.iter().map(|code| code.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_the_golden_file() {
        let golden = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openapi_gov.json");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, text()).expect("the testdata folder can be written");
        }
        let expected = std::fs::read_to_string(&golden).expect("testdata/openapi_gov.json");
        assert_eq!(text(), expected, "run again with UPDATE_GOLDEN=1 if the change is meant");
    }

    #[test]
    fn a_path_is_of_one_form_only() {
        let withdraw = "/gov/members/proposals/{proposalId}:withdraw";
        assert_eq!(names(withdraw, "/gov/members/proposals/ab:withdraw"), Some(vec!["ab".to_owned()]));
        for other in
            ["/gov/members/proposals/ab", "/gov/members/proposals/:withdraw", "/gov/members/proposals/a:b:withdraw"]
        {
            assert_eq!(names(withdraw, other), None, "{other}");
        }
        assert_eq!(names("/gov/members/proposals/{proposalId}", "/gov/members/proposals/ab:withdraw"), None);
        assert_eq!(names("/gov/service/members", "/gov/service/members/"), None);
    }
}
