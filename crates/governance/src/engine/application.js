// What endpoints of an application find besides: `ccf.rpc`, `ccf.consensus`, the past in historical mode. The result takes the function that
// answers, and gives what it answered, in a form that the natives under it can take over.
(function (native) {
  "use strict";
  const { parse, stringify } = JSON;
  const { isView } = ArrayBuffer;
  const { isInteger, isSafeInteger } = Number;
  const { entries } = Object;
  const ThePromise = Promise;
  const { latin, kvOf, arity } = native;
  const isObject = (value) => value !== null && typeof value === "object";
  const wholeNumbers = (name, numbers) => {
    if (!numbers.every((number) => isSafeInteger(number) && number >= 0)) throw new RangeError(`${name} takes whole numbers that are not negative`);
  };

  const { ccf } = globalThis;
  ccf.consensus = {
    getLastCommittedTxId: () => parse(native.committed()),
    getStatusForTxId: (view, seqno) => native.statusOf(Number(view), Number(seqno)),
    getViewForSeqno: (seqno) => native.viewOf(Number(seqno)) ?? null,
  };
  ccf.rpc = {
    setApplyWrites(on) {
      if (typeof on !== "boolean") throw new TypeError("setApplyWrites takes true or false");
      native.applyWrites(on);
    },
    setClaimsDigest(digest) {
      if (!(digest instanceof ArrayBuffer) || digest.byteLength !== 32) throw new TypeError("setClaimsDigest takes an ArrayBuffer of 32 bytes");
      native.claim(latin(digest));
    },
  };
  const stateOf = (past) => {
    const { transactionId, receipt } = parse(past.state);
    return { transactionId, receipt: { is_signature_transaction: false, ...receipt }, kv: kvOf(past) };
  };
  // What is read of the past is at hand at once, and forgotten when the call ends.
  const handles = new Set();
  ccf.historical = {
    getStateRange(...args) {
      arity("getStateRange", args, 4);
      const [handle, first, last, seconds] = args.map(Number);
      wholeNumbers("getStateRange", [handle, first, last, seconds]);
      if (last < first) throw new RangeError(`getStateRange: ${last} is before ${first}`);
      const states = native.states(first, last);
      if (!states) return null;
      handles.add(handle);
      return states.map(stateOf);
    },
    dropCachedStates(...args) {
      arity("dropCachedStates", args, 1);
      const handle = Number(args[0]);
      wholeNumbers("dropCachedStates", [handle]);
      return handles.delete(handle);
    },
  };
  if (native.past !== undefined) ccf.historicalState = stateOf(native.past);

  const request = parse(native.request);
  request.body = {
    text: () => native.text(),
    json: () => parse(native.text()),
    arrayBuffer: () => native.bytes(),
  };
  // The message that was signed is the body.
  const signed = [request.caller, ...entries(request.caller).map(([, part]) => part)];
  for (const part of signed) if (isObject(part) && part.cose !== undefined) part.cose = { content: native.bytes() };

  const bodyOf = (body) => {
    if (body === undefined || body === null) return {};
    if (body instanceof ArrayBuffer) return { type: "application/octet-stream", bytes: latin(body) };
    if (isView(body)) {
      return { type: "application/octet-stream", bytes: latin(new Uint8Array(body.buffer, body.byteOffset, body.byteLength)) };
    }
    if (typeof body === "string") return { type: "text/plain", text: body };
    const text = stringify(body);
    if (text === undefined) throw new TypeError("the response's body has no JSON");
    return { type: "application/json", text };
  };

  const answer = (response) => {
    if (!isObject(response)) throw new TypeError("an endpoint must return an object");
    const { statusCode = 200, headers = {}, body } = response;
    if (!isInteger(statusCode) || statusCode < 200 || statusCode > 599) throw new TypeError("statusCode must be a whole number from 200 to 599");
    if (!isObject(headers)) throw new TypeError("headers must be an object");
    const { type, ...content } = bodyOf(body);
    const all = entries(headers).map(([name, value]) => {
      if (typeof value !== "string") throw new TypeError(`the header ${name} must be a text`);
      return [name.toLowerCase(), value];
    });
    if (type !== undefined && !all.some(([name]) => name === "content-type")) all.push(["content-type", type]);
    return { status: statusCode, headers: stringify(all), ...content };
  };

  return (endpoint, name) => {
    if (typeof endpoint !== "function") throw new TypeError(`the module exports no function ${name}`);
    const response = endpoint(request);
    return response instanceof ThePromise ? response.then(answer) : answer(response);
  };
});
