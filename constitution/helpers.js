// What actions and policies share. Everything of the constitution is one module: names here are known in all of its files.

const K0 = new ArrayBuffer(8);

const MEMBER_CERTS = "public:ccf.gov.members.certs";
const MEMBER_INFO = "public:ccf.gov.members.info";
const MEMBER_KEYS = "public:ccf.gov.members.encryption_public_keys";
const MEMBER_ACKS = "public:ccf.gov.members.acks";
const USER_CERTS = "public:ccf.gov.users.certs";
const USER_INFO = "public:ccf.gov.users.info";
const JWT_ISSUERS = "public:ccf.gov.jwt.issuers";
const NODE_INFO = "public:ccf.gov.nodes.info";
const SERVICE_INFO = "public:ccf.gov.service.info";
const SERVICE_CONFIG = "public:ccf.gov.service.config";
const CONSTITUTION = "public:ccf.gov.constitution";
const PROPOSALS_INFO = "public:ccf.gov.proposals_info";
const VOTING_POLICY = "public:ccf.gov.coco.voting_policy";
const LEDGER_FAMILIES = "public:ccf.gov.coco.ledger.families";
const LEDGER_ACCOUNTS = "public:ccf.gov.coco.ledger.accounts";
const LEDGER_NAMESPACES = "public:ccf.gov.coco.ledger.namespaces";
const LEDGER_SETTINGS = "public:ccf.gov.coco.ledger.settings";
const NETWORK = "public:ccf.gov.coco.network";
const ADDED_LEDGERS = "public:ccf.gov.coco.ledgers";
const REMOVED_LEDGERS = "public:ccf.gov.coco.ledgers.removed";
const IDENTITY_DISCLOSURE = "public:ccf.gov.coco.identity_disclosure";
const CA_CERT_BUNDLES = "public:ccf.gov.tls.ca_cert_bundles";
const CLOSURES = "public:ccf.gov.coco.ledger.closed";
const PUBLISHED_MAPS = "public:ccf.gov.coco.published_maps";
const RESUME_POLICY = "public:ccf.gov.coco.resume_policy";
const USER_KEYS = "public:ccf.gov.coco.participants.encryption_public_keys";
const SHARE_HOLDERS = "public:ccf.gov.coco.share_holders";
const NODE_ADMISSION = "public:ccf.gov.coco.node_admission";
const AUTOMATIC_VOTES = "public:ccf.gov.coco.automatic_votes";
const SIGNATURES = "public:ccf.internal.signatures";
const RECOVERY = "public:ccf.gov.coco.recovery";
const EPOCH_POLICY = "public:ccf.gov.coco.epoch_policy";
const ATTESTATION_POLICY = "public:ccf.gov.coco.attestation.policy";
const ATTESTATION_ANCHORS = "public:ccf.gov.coco.attestation.anchors";
const VIRTUAL_MEASUREMENTS = "public:ccf.gov.nodes.virtual.measurements";
const VIRTUAL_HOST_DATA = "public:ccf.gov.nodes.virtual.host_data";
const SNP_MEASUREMENTS = "public:ccf.gov.nodes.snp.measurements";
const SNP_HOST_DATA = "public:ccf.gov.nodes.snp.host_data";
const SNP_UVM_ENDORSEMENTS = "public:ccf.gov.nodes.snp.uvm_endorsements";
const SNP_TCB_VERSIONS = "public:ccf.gov.nodes.snp.tcb_versions";
const SGX_MEASUREMENTS = "public:ccf.gov.nodes.code_ids";
const JS_MODULES = "public:ccf.gov.modules";
const JS_ENDPOINTS = "public:ccf.gov.endpoints";
const JS_RUNTIME_OPTIONS = "public:ccf.gov.js_runtime_options";
// CCF's caches of compiled modules: kept empty.
const JS_CACHES = ["public:ccf.gov.modules_quickjs_bytecode", "public:ccf.gov.modules_quickjs_version", "public:ccf.gov.interpreter.flush"];

// --- Rows ---------------------------------------------------------------------------------------------------------------------------

const textKey = (text) => ccf.strToBuf(text);

function readRow(map, key) {
  const value = ccf.kv[map].get(key);
  return value === undefined ? undefined : ccf.bufToJsonCompatible(value);
}

function writeRow(map, key, row) {
  ccf.kv[map].set(key, ccf.jsonCompatibleToBuf(row));
}

function rows(map) {
  return ccf.kv[map].jsonRows();
}

function mustExist(map, id, what) {
  const row = readRow(map, textKey(id));
  if (row === undefined) throw new Error(`there is no ${what} ${id}`);
  return row;
}

function activeMembers() {
  return rows(MEMBER_INFO).filter(([, info]) => info.status === "Active");
}

// Active members that hold a recovery share, and participants if they may.
function activeShareHolders() {
  const members = activeMembers().filter(
    ([id, { recovery_role }]) => ccf.kv[MEMBER_KEYS].has(textKey(id)) && recovery_role !== "NonParticipant",
  );
  const participants = [];
  const isMember = (id) => members.some(([member]) => member === id);
  const add = (_, key) => isMember(ccf.bufToStr(key)) || participants.push([ccf.bufToStr(key), {}]);
  if (participantsHoldShares()) ccf.kv[USER_KEYS].forEach(add);
  return [...members, ...participants];
}

const participantsHoldShares = () => readRow(SHARE_HOLDERS, K0)?.participants === true;

const isRemoved = (ledger) => ccf.kv[REMOVED_LEDGERS].has(textKey(ledger));

const isHosted = (ledger) =>
  !isRemoved(ledger) && (readRow(NETWORK, K0).ledgers.includes(ledger) || ccf.kv[ADDED_LEDGERS].has(textKey(ledger)));

const serviceIsOpen = () => readRow(SERVICE_INFO, K0).status === "Open";

// Other proposals were made, and voted on, under rules that no longer hold: nobody may be held to them.
function dropOtherOpenProposals(proposalId) {
  for (const [id, info] of rows(PROPOSALS_INFO)) {
    if (id !== proposalId && info.state === "Open") {
      writeRow(PROPOSALS_INFO, textKey(id), { ...info, state: "Dropped" });
    }
  }
}

// Lists of the attestation policy, a rule at a time: the rest of a section is `set_attestation_policy`'s.
function addRule(section, list, rule) {
  const policy = readRow(ATTESTATION_POLICY, textKey(section)) ?? {};
  const rules = policy[list] ?? [];
  if (rules.some((known) => isSameRule(known, rule))) return;
  writeRow(ATTESTATION_POLICY, textKey(section), { ...policy, [list]: [...rules, rule] });
}

function removeRule(section, list, rule) {
  const policy = readRow(ATTESTATION_POLICY, textKey(section)) ?? {};
  const left = (policy[list] ?? []).filter((known) => !isSameRule(known, rule));
  writeRow(ATTESTATION_POLICY, textKey(section), { ...policy, [list]: left });
}

const hasRule = (section, list, rule) =>
  (readRow(ATTESTATION_POLICY, textKey(section))?.[list] ?? []).some((known) => isSameRule(known, rule));

// However it was written: what a rule leaves out, it does not ask for.
function isSameRule(one, other) {
  const asks = (value) => value !== null && value !== undefined && value !== 0 && (typeof value !== "object" || Object.keys(value).length > 0);
  const spelt = (rule) => JSON.stringify(Object.entries(rule).filter(([, value]) => asks(value)).sort()).toLowerCase();
  return spelt(one) === spelt(other);
}

// --- Arguments ----------------------------------------------------------------------------------------------------------------------

function fail(message) {
  throw new Error(message);
}

// Each field of `shape` is a check; a name that ends in `?` may be absent. Fields that no check names are refused: a misspelt one
// would otherwise silently not be what the voters read.
function checkArgs(args, shape) {
  if (typeof args !== "object" || args === null || Array.isArray(args)) fail("the arguments must be an object");
  const known = new Map(Object.entries(shape).map(([name, check]) => [name.replace("?", ""), check]));
  for (const name of Object.keys(args)) if (!known.has(name)) fail(`there is no argument ${name}`);
  for (const [name, check] of Object.entries(shape)) {
    const field = name.replace("?", "");
    const value = args[field];
    if (value === undefined || value === null) {
      if (!name.endsWith("?")) fail(`${field} is missing`);
    } else {
      check(value, field);
    }
  }
}

function checkNoArgs(args) {
  if (args !== null && args !== undefined && Object.keys(args).length > 0) fail("this action takes no arguments");
}

const is = {
  string: (value, field) => typeof value === "string" || fail(`${field} must be a text`),
  words: (value, field) =>
    (typeof value === "string" && value.trim() !== "" && value.length <= 500) || fail(`${field} must be a text of 1 to 500 characters`),
  ledger: (value, field) =>
    (typeof value === "string" && /^[a-z][a-z0-9_-]{0,49}$/.test(value)) || fail(`${field} must be the name of a ledger`),
  privateMap(value, field) {
    is.words(value, field);
    if (value.startsWith("public:")) fail(`${value} is public already`);
    if (value.startsWith("ccf.")) fail(`${value} belongs to the network itself`);
  },
  object: (value, field) => (typeof value === "object" && !Array.isArray(value)) || fail(`${field} must be an object`),
  flag: (value, field) => typeof value === "boolean" || fail(`${field} must be true or false`),
  integer: (least, most) => (value, field) =>
    (Number.isInteger(value) && value >= least && value <= most) ||
    fail(`${field} must be a whole number from ${least} to ${most}`),
  oneOf: (choices) => (value, field) => choices.includes(value) || fail(`${field} must be one of ${choices.join(", ")}`),
  hex: (bytes) => (value, field) =>
    (typeof value === "string" && value.length === 2 * bytes && /^[0-9a-fA-F]+$/.test(value)) ||
    fail(`${field} must be ${2 * bytes} hexadecimal digits`),
  cpuid: (value, field) =>
    (typeof value === "string" && /^[0-9a-f]{8}$/.test(value)) || fail(`${field} must be 8 lower-case hexadecimal digits`),
  // Rows are found by it as it stands.
  id: (value, field) =>
    (typeof value === "string" && /^[0-9a-f]{64}$/.test(value)) || fail(`${field} must be 64 lower-case hexadecimal digits`),
  time: (value, field) =>
    Number.isInteger(unixSeconds(value)) || fail(`${field} must be a time, such as 20261231235959Z or 2026-12-31T23:59:59Z`),
  encryptionKey: (value, field) =>
    ccf.gov.isEncryptionKey(value) || fail(`${field} must be an RSA public key of 2048 bits or more in PEM`),
  texts: (value, field) =>
    (Array.isArray(value) && value.length > 0 && value.every((text) => typeof text === "string" && text !== "")) ||
    fail(`${field} must be a list of texts`),
  ids: (value, field) => Array.isArray(value) && value.length > 0 ? value.every((id) => is.id(id, field)) : fail(`${field} must be a list of ids`),
  jwks(value, field) {
    const problem = ccf.gov.jwksProblem(value);
    if (problem !== undefined) fail(`${field}: ${problem}`);
  },
  certificate: (value, field) =>
    ccf.crypto.isValidX509CertBundle(value) || fail(`${field} must be an X.509 certificate in PEM`),
};

// Of a time in UTC, in the forms that CCF takes; NaN for anything else.
const unixSeconds = (text) => ccf.gov.unixSeconds(text);

function hexDigest(text) {
  const bytes = new Uint8Array(ccf.crypto.digest("SHA-256", ccf.strToBuf(text)));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// --- Words --------------------------------------------------------------------------------------------------------------------------

function memberName(id) {
  const name = readRow(MEMBER_INFO, textKey(id))?.member_data?.name;
  return typeof name === "string" ? `${name} (${id.slice(0, 8)}…)` : `${id.slice(0, 8)}…`;
}

function named(data, id) {
  return typeof data?.name === "string" ? `${data.name} (${id.slice(0, 8)}…)` : `${id.slice(0, 8)}…`;
}

// --- Registers ----------------------------------------------------------------------------------------------------------------------

// Name -> {validate(args), apply(args, proposalId), describe(args)}. Each file of actions/ adds one.
const actions = new Map();

// Name -> {validate(rule), decide({rule, votes, members, actions}), describe(rule)}. Each file of policies/ adds one.
const policies = new Map();
