// What every script finds in its world: the `ccf` object over the natives, and fences around what would differ from node to node.
(function (native) {
  "use strict";
  const { parse, stringify } = JSON;
  const { apply } = Reflect;
  const isBuffer = (value) => value instanceof ArrayBuffer;
  // Bytes travel to the natives as a text with a character each, as in Latin-1.
  const { fromCharCode } = String;
  const CHUNK = 8192;
  const latin = (bytes) => {
    const view = new Uint8Array(bytes);
    let text = "";
    for (let at = 0; at < view.length; at += CHUNK) text += apply(fromCharCode, null, view.subarray(at, at + CHUNK));
    return text;
  };
  const describe = (value) => (value === null ? "null" : typeof value);
  const RealDate = Date;
  // Of a time in UTC, in the forms that CCF takes; NaN for anything else.
  const TIMES = [/^(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/, /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(?:\.\d+)?Z?$/];
  const unixSeconds = (text) => {
    const found = typeof text === "string" ? TIMES.map((form) => form.exec(text)).find((match) => match) : undefined;
    if (!found) return NaN;
    const [year, month, day, hour, minute, second] = found.slice(1).map(Number);
    const full = found[1].length === 2 ? 2000 + year : year;
    const date = new RealDate(RealDate.UTC(full, month - 1, day, hour, minute, second));
    // A month of 13 or a day of 32 would be another time than it says.
    const same = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && date.getUTCHours() === hour && date.getUTCMinutes() === minute;
    return same && full >= 1970 ? date.getTime() / 1000 : NaN;
  };

  // --- Fences -----------------------------------------------------------------------------------------------------------------

  // Ledger time is no business of a decision: a clock that stands still in 1970, and dates that mean the same in every time zone.
  const ISO = /^[+-]?\d{4,6}(-\d\d(-\d\d)?)?(T\d\d:\d\d(:\d\d(\.\d+)?)?)?(Z|[+-]\d\d:\d\d)?$/;
  const zoned = (text) => {
    if (!ISO.test(text)) return NaN;
    return /T/.test(text) && !/(Z|[+-]\d\d:\d\d)$/.test(text) ? `${text}Z` : text;
  };
  // An application may ask for the time of the node that runs it; what it makes of it is written down, not run again.
  let timed = false;
  const now = () => (timed ? native.nowMs : 0);
  class FencedDate extends RealDate {
    constructor(...args) {
      if (args.length === 0) super(now());
      else if (args.length > 1) super(RealDate.UTC(...args));
      else super(typeof args[0] === "string" ? zoned(args[0]) : args[0]);
    }
    static now() {
      return now();
    }
    static parse(text) {
      return RealDate.parse(zoned(String(text)));
    }
    getTimezoneOffset() {
      return 0;
    }
    toString() {
      return this.toUTCString();
    }
  }
  for (const name of Object.getOwnPropertyNames(RealDate.prototype)) {
    if (/^[gs]etUTC/.test(name)) FencedDate.prototype[name.replace("UTC", "")] = RealDate.prototype[name];
    if (/^to(Locale)?(Date|Time)?String$/.test(name)) FencedDate.prototype[name] = FencedDate.prototype.toString;
  }
  RealDate.prototype.constructor = FencedDate;
  globalThis.Date = FencedDate;

  if (native.seed === undefined) {
    Math.random = () => {
      throw new TypeError("Math.random is not available here: decisions must replay");
    };
  } else {
    let [a, b, c, d] = new Uint32Array(native.seed.slice(0, 16));
    Math.random = () => {
      const t = (a + b + d) | 0;
      d = (d + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (c << 21) | (c >>> 11);
      c = (c + t) | 0;
      return (t >>> 0) / 4294967296;
    };
  }

  // A built-in loop is not interrupted: nothing that only claims to be long may keep one busy. A script can replace and inherit what it likes, so
  // that these fences decide by nothing that it can reach.
  const ELEMENTS_MAX = 1 << 22;
  // Each name is compared with all before it.
  const NAMES_MAX = 1 << 12;
  const TheObject = Object;
  const { defineProperty, getOwnPropertyDescriptor, getOwnPropertyNames, hasOwn } = Object;
  const { isArray } = Array;
  const { trunc } = Math;
  const { isConcatSpreadable, iterator } = Symbol;
  const refuse = (name) => {
    throw new RangeError(`${name}: it is too long, or has no length of its own`);
  };
  // A loop reads the length once more: a property of the list itself that is no getter says the same again.
  const isShort = (list) => {
    if (isArray(list)) return list.length <= ELEMENTS_MAX;
    const length = getOwnPropertyDescriptor(list, "length");
    return length !== undefined && hasOwn(length, "value") && typeof length.value === "number" && length.value <= ELEMENTS_MAX;
  };
  const fence = (owner, name, run) => {
    const builtin = owner[name];
    const fenced = {
      [name](...args) {
        return run(builtin, this, args);
      },
    }[name];
    defineProperty(fenced, "length", { value: builtin.length });
    defineProperty(owner, name, { value: fenced });
  };

  // These ask several lists for their lengths, with a script's own code in between: here each element is a step of the script.
  const isSpread = (value) => {
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return false;
    const wanted = value[isConcatSpreadable];
    return wanted === undefined ? isArray(value) : !!wanted;
  };
  const flatten = (into, list, depth) => {
    const { length } = list;
    for (let at = 0; at < length; at++) {
      if (!(at in list)) continue;
      const item = list[at];
      if (depth > 0 && isArray(item)) flatten(into, item, depth - 1);
      else into[into.length] = item;
    }
    return into;
  };
  const stepped = {
    concat(list, items) {
      const all = [];
      let end = 0;
      for (let place = -1; place < items.length; place++) {
        const item = place < 0 ? list : items[place];
        if (!isSpread(item)) {
          all[end++] = item;
          continue;
        }
        const { length } = item;
        for (let at = 0; at < length; at++, end++) if (at in item) all[end] = item[at];
      }
      all.length = end;
      return all;
    },
    flat: (list, args) => flatten([], list, args[0] === undefined ? 1 : trunc(args[0])),
    flatMap(list, args) {
      const made = [];
      const { length } = list;
      for (let at = 0; at < length; at++) if (at in list) made[made.length] = apply(args[0], args[1], [list[at], at, list]);
      return flatten([], made, 1);
    },
  };
  // Those that do not loop, or step by step under the script's own control.
  const unguarded = new Set(["constructor", "push", "pop", "at", "keys", "values", "entries", "toString"]);
  for (const name of getOwnPropertyNames(Array.prototype)) {
    if (typeof Array.prototype[name] !== "function" || unguarded.has(name)) continue;
    const steps = hasOwn(stepped, name) ? stepped[name] : undefined;
    fence(Array.prototype, name, (builtin, list, args) => {
      if (steps) return steps(TheObject(list), args);
      if (!isShort(list)) refuse(name);
      return apply(builtin, list, args);
    });
  }
  fence(String, "raw", (builtin, self, args) => {
    const { raw } = args[0];
    if (!isShort(raw)) refuse("raw");
    args[0] = { raw };
    return apply(builtin, self, args);
  });
  fence(JSON, "stringify", (builtin, self, args) => {
    if (isArray(args[1]) && args[1].length > NAMES_MAX) refuse("stringify");
    return apply(builtin, self, args);
  });

  // An array's iterator goes on for as long as the array claims to, and inside the engine without a step: one that calls back is counted.
  const stepwise = (items) => {
    const { next } = items;
    return {
      next: () => apply(next, items, []),
      return() {
        const end = items.return;
        return end === undefined || end === null ? {} : apply(end, items, []);
      },
    };
  };
  for (const name of ["drop", "includes", "join"]) {
    fence(Iterator.prototype, name, (builtin, items, args) => apply(builtin, stepwise(items), args));
  }
  for (const name of ["difference", "intersection", "isDisjointFrom", "isSubsetOf", "isSupersetOf", "symmetricDifference", "union"]) {
    fence(Set.prototype, name, (builtin, set, args) => {
      const other = args[0];
      const { size, has, keys } = other;
      return apply(builtin, set, [{ size, has: (value) => apply(has, other, [value]), keys: () => stepwise(apply(keys, other, [])) }]);
    });
  }
  fence(Math, "sumPrecise", (builtin, self, args) => {
    const numbers = args[0];
    const begin = numbers[iterator];
    return apply(builtin, self, [{ [iterator]: () => stepwise(apply(begin, numbers, [])) }]);
  });
  // It would show a script the built-in functions behind these fences.
  delete Error.prepareStackTrace;
  const RealProxy = Proxy;
  delete globalThis.Proxy;

  // --- ccf ----------------------------------------------------------------------------------------------------------------------

  const arity = (name, args, least, most = least) => {
    if (args.length < least || args.length > most) {
      throw new TypeError(`${name} takes ${least === most ? least : `${least} to ${most}`} arguments, not ${args.length}`);
    }
  };
  const buffer = (name, what, value) => {
    if (!isBuffer(value)) throw new TypeError(`${name}: the ${what} must be an ArrayBuffer, not ${describe(value)}`);
    return latin(value);
  };

  // Of these rows: the state's or, in an application, those of one past transaction.
  class KvMap {
    #name;
    #rows;
    constructor(name, rows) {
      this.#name = name;
      this.#rows = rows;
    }
    has(...args) {
      arity("has", args, 1);
      return this.#rows.kvHas(this.#name, buffer("has", "key", args[0]));
    }
    get(...args) {
      arity("get", args, 1);
      return this.#rows.kvGet(this.#name, buffer("get", "key", args[0])) ?? undefined;
    }
    getVersionOfPreviousWrite(...args) {
      arity("getVersionOfPreviousWrite", args, 1);
      return this.#rows.kvVersion(this.#name, buffer("getVersionOfPreviousWrite", "key", args[0])) ?? undefined;
    }
    set(...args) {
      arity("set", args, 2);
      this.#rows.kvSet(this.#name, buffer("set", "key", args[0]), buffer("set", "value", args[1]));
      return this;
    }
    delete(...args) {
      arity("delete", args, 1);
      return this.#rows.kvDelete(this.#name, buffer("delete", "key", args[0]));
    }
    clear(...args) {
      arity("clear", args, 0);
      this.#rows.kvClear(this.#name);
    }
    forEach(...args) {
      arity("forEach", args, 1);
      const [visit] = args;
      if (typeof visit !== "function") throw new TypeError("forEach takes a function");
      for (const [key, value] of this.#rows.kvEntries(this.#name)) visit(value, key, this);
    }
    // Coco's own: every row of a map whose keys are texts and whose values are JSON.
    jsonRows(...args) {
      arity("jsonRows", args, 0);
      return parse(this.#rows.kvJson(this.#name));
    }
    get size() {
      return this.#rows.kvSize(this.#name);
    }
  }

  // Of a signature or a wrapping, as Web Crypto describes them.
  const algorithmOf = (algorithm) => {
    const { name, hash, saltLength, aesKeySize } = Object(algorithm);
    const number = (value) => (value === undefined ? undefined : Number(value));
    const text = (value) => (value === undefined ? undefined : String(value));
    return stringify({ name: String(name), hash: text(hash), saltLength: number(saltLength), aesKeySize: number(aesKeySize) });
  };
  const secretOf = (key) => latin(isBuffer(key) ? key : native.strToBuf(String(key)));
  const labelOf = (name, algorithm) => {
    const { label } = Object(algorithm);
    return label === undefined ? "" : buffer(name, "label", label);
  };
  const toJwk = (name, kind, isPrivate) => (...args) => {
    arity(name, args, 1, 2);
    return parse(native.toJwk(kind, isPrivate, String(args[0]), args[1] === undefined ? undefined : String(args[1])));
  };
  const toPem = (name, kind, isPrivate) => (...args) => {
    arity(name, args, 1);
    return native.toPem(kind, isPrivate, stringify(args[0]) ?? "");
  };
  const underKey = (name) => (...args) => {
    arity(name, args, 3);
    const [key, by, algorithm] = args;
    return native[name](algorithmOf(algorithm), buffer(name, "key", key), buffer(name, "wrapping key", by), labelOf(name, algorithm));
  };

  const kvOf = (rows) =>
    new RealProxy(Object.create(null), {
      get: (_, name) => (typeof name === "string" ? new KvMap(name, rows) : undefined),
      set: () => false,
    });

  globalThis.ccf = {
    kv: kvOf(native),
    strToBuf(text) {
      if (typeof text !== "string") throw new TypeError(`strToBuf takes a string, not ${describe(text)}`);
      return native.strToBuf(text);
    },
    bufToStr: (bytes) => native.bufToStr(buffer("bufToStr", "argument", bytes)),
    jsonCompatibleToBuf(value) {
      const text = stringify(value);
      if (text === undefined) throw new TypeError("jsonCompatibleToBuf: the value has no JSON");
      return native.strToBuf(text);
    },
    bufToJsonCompatible: (bytes) => parse(native.bufToStr(buffer("bufToJsonCompatible", "argument", bytes))),
    pemToId(pem) {
      if (typeof pem !== "string") throw new TypeError(`pemToId takes a string, not ${describe(pem)}`);
      return native.pemToId(pem);
    },
    enableUntrustedDateTime(on) {
      const before = timed;
      timed = Boolean(on) && native.nowMs !== undefined;
      return before;
    },
    enableMetricsLogging() {},
    // A firmware's version as a report shows it, one number of 64 bits. Turin (family 1Ah) orders its bytes in another way than those before it.
    tcbHexToPolicy(...args) {
      arity("tcbHexToPolicy", args, 2);
      const [cpuid, hex] = args;
      if (typeof cpuid !== "string" || !/^[0-9a-f]{8}$/.test(cpuid)) throw new TypeError("tcbHexToPolicy: a CPUID has 8 lower-case hexadecimal digits");
      if (typeof hex !== "string" || !/^[0-9a-fA-F]{16}$/.test(hex)) throw new TypeError("tcbHexToPolicy: a TCB version has 16 hexadecimal digits");
      const byte = (at) => parseInt(hex.slice(14 - 2 * at, 16 - 2 * at), 16);
      const parts = cpuid.startsWith("00b")
        ? { fmc: byte(0), boot_loader: byte(1), tee: byte(2), snp: byte(3), microcode: byte(7) }
        : { boot_loader: byte(0), tee: byte(1), snp: byte(6), microcode: byte(7) };
      return { ...parts, hexstring: hex.toLowerCase() };
    },
    gov: {
      // Why the keys of a token issuer (JWKS) cannot be taken; undefined if they can.
      jwksProblem: (jwks) => native.jwksProblem(stringify(jwks) ?? "") ?? undefined,
      // Why this network's nodes cannot begin a ledger with this genesis; undefined if they can.
      ledgerProblem: (ledger, genesis) => native.ledgerProblem(String(ledger), stringify(genesis) ?? "null") ?? undefined,
      unixSeconds,
      isEncryptionKey: (pem) => typeof pem === "string" && native.isEncryptionKey(pem),
      validateConstitution(text) {
        if (typeof text !== "string") throw new TypeError("validateConstitution takes a string");
        native.validateConstitution(text);
        return true;
      },
    },
    crypto: {
      digest: (algorithm, data) => native.digest(String(algorithm), buffer("digest", "data", data)),
      sign(...args) {
        arity("sign", args, 3);
        return native.sign(algorithmOf(args[0]), secretOf(args[1]), buffer("sign", "data", args[2]));
      },
      verifySignature(...args) {
        arity("verifySignature", args, 4);
        const [proof, data] = [buffer("verifySignature", "signature", args[2]), buffer("verifySignature", "data", args[3])];
        return native.verifySignature(algorithmOf(args[0]), secretOf(args[1]), proof, data);
      },
      generateAesKey(...args) {
        arity("generateAesKey", args, 1);
        return native.generateAesKey(Number(args[0]));
      },
      generateRsaKeyPair(...args) {
        arity("generateRsaKeyPair", args, 1, 2);
        return native.generateRsaKeyPair(Number(args[0]), args[1] === undefined ? 65537 : Number(args[1]));
      },
      generateEcdsaKeyPair(...args) {
        arity("generateEcdsaKeyPair", args, 1);
        return native.generateEcdsaKeyPair(String(args[0]));
      },
      generateEddsaKeyPair(...args) {
        arity("generateEddsaKeyPair", args, 1);
        return native.generateEddsaKeyPair(String(args[0]));
      },
      wrapKey: underKey("wrapKey"),
      unwrapKey: underKey("unwrapKey"),
      pubPemToJwk: toJwk("pubPemToJwk", "EC", false),
      pemToJwk: toJwk("pemToJwk", "EC", true),
      pubRsaPemToJwk: toJwk("pubRsaPemToJwk", "RSA", false),
      rsaPemToJwk: toJwk("rsaPemToJwk", "RSA", true),
      pubEddsaPemToJwk: toJwk("pubEddsaPemToJwk", "OKP", false),
      eddsaPemToJwk: toJwk("eddsaPemToJwk", "OKP", true),
      pubJwkToPem: toPem("pubJwkToPem", "EC", false),
      jwkToPem: toPem("jwkToPem", "EC", true),
      pubRsaJwkToPem: toPem("pubRsaJwkToPem", "RSA", false),
      rsaJwkToPem: toPem("rsaJwkToPem", "RSA", true),
      pubEddsaJwkToPem: toPem("pubEddsaJwkToPem", "OKP", false),
      eddsaJwkToPem: toPem("eddsaJwkToPem", "OKP", true),
      isValidX509CertBundle: (pem) => typeof pem === "string" && native.isCertificateBundle(pem),
      isValidX509CertChain: (chain, trusted) => native.isCertificateChain(String(chain), String(trusted)),
    },
  };
  // Scripts for CCF 2 find these here.
  for (const name of [
    "digest", "verifySignature", "isValidX509CertBundle", "isValidX509CertChain", "generateAesKey", "generateRsaKeyPair", "generateEcdsaKeyPair", "wrapKey",
  ]) {
    globalThis.ccf[name] = globalThis.ccf.crypto[name];
  }
  globalThis.snp_attestation = {
    verifySnpAttestation(...args) {
      arity("verifySnpAttestation", args, 2, 4);
      const bytes = (what, value) => buffer("verifySnpAttestation", what, value);
      const [evidence, endorsements, uvm, tcb] = args;
      const endorsed = tcb === undefined ? undefined : String(tcb);
      return native.verifySnp(bytes("evidence", evidence), bytes("endorsements", endorsements), uvm === undefined ? undefined : bytes("UVM endorsements", uvm), endorsed);
    },
  };

  if (native.applies) {
    const { ccf } = globalThis;
    ccf.node = {
      triggerLedgerChunk: () => native.endChunk(),
      triggerSnapshot: () => native.snapshot(),
      triggerLedgerRekey: () => native.rekey(),
      triggerRecoverySharesRefresh: () => native.reshare(),
      transitionServiceToOpen(...args) {
        arity("transitionServiceToOpen", args, 2);
        const [previous, next] = args;
        const past = previous === undefined ? undefined : buffer("transitionServiceToOpen", "previous identity", previous);
        native.openService(buffer("transitionServiceToOpen", "next identity", next), past);
      },
    };
    ccf.network = {
      // As below. What is given is put into rows as it is, and is the certificate there once the transaction is.
      generateEndorsedCertificate(...args) {
        arity("generateEndorsedCertificate", args, 3);
        const [request, from, days] = [args[0], unixSeconds(args[1]), args[2]];
        if (typeof request !== "string") throw new TypeError(`generateEndorsedCertificate takes a request in PEM, not ${describe(request)}`);
        if (!Number.isInteger(from)) throw new TypeError(`generateEndorsedCertificate: ${args[1]} is no time in UTC`);
        if (!Number.isInteger(days) || days < 1) throw new TypeError("generateEndorsedCertificate takes a whole number of days");
        return native.endorse(request, from, days);
      },
      // No two makings give the same: it is made, and written to the service's row, with the transaction. Until then the present one stands for it.
      generateNetworkCertificate(...args) {
        arity("generateNetworkCertificate", args, 2);
        const [from, days] = [unixSeconds(args[0]), args[1]];
        if (!Number.isInteger(from)) throw new TypeError(`generateNetworkCertificate: ${args[0]} is no time in UTC`);
        if (!Number.isInteger(days) || days < 1) throw new TypeError("generateNetworkCertificate takes a whole number of days");
        native.renewService(from, days);
        return parse(native.bufToStr(buffer("generateNetworkCertificate", "service", globalThis.ccf.kv["public:ccf.gov.service.info"].get(new ArrayBuffer(8))))).cert;
      },
      getLatestLedgerSecretSeqno: () => native.secretSeqno(),
    };
    // Coco's own.
    ccf.coco = {
      grantEpoch: (at, key) => native.grantEpoch(Number(at), String(key)),
      rotateServiceIdentity: () => native.rotateService(),
      renewServiceCertificate: (from, days) => native.renewService(Number(from), Number(days)),
      renewNodeCertificates: (node, from, days) => native.renewNodes(node === undefined ? undefined : String(node), Number(from), Number(days)),
    };
    // The second argument, CCF's metadata of the issuer, has a part in key policies of old only.
    ccf.setJwtPublicSigningKeys = (...args) => {
      arity("setJwtPublicSigningKeys", args, 3);
      native.setJwtKeys(String(args[0]), stringify(args[2]) ?? "");
    };
    ccf.removeJwtPublicSigningKeys = (...args) => {
      arity("removeJwtPublicSigningKeys", args, 1);
      native.removeJwtKeys(String(args[0]));
    };
    ccf.refreshAppBytecodeCache = () => {};
  }

  // For what comes after this.
  Object.assign(native, { latin, kvOf, arity });

  const line = (level) => (...args) => {
    native.log(level, args.map((arg) => (typeof arg === "string" ? arg : stringify(arg) ?? String(arg))).join(" "));
  };
  globalThis.console = { log: line("info"), info: line("info"), warn: line("warn"), error: line("error") };
});
