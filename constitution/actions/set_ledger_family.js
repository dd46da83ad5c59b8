actions.set("set_ledger_family", {
  validate(args) {
    checkArgs(args, {
      ledger: is.string,
      family: familyName,
      version: familyName,
      tier: is.oneOf(["native", "wasm", "attested", "process", "refused"]),
      "namespaces?": (value, field) => Array.isArray(value) || fail(`${field} must be a list`),
      "code?": is.object,
      "in_plain_text?": is.flag,
    });
    if ((args.family === "*") !== (args.version === "*")) fail("family and version must both be * to mean all others");
    for (const prefix of args.namespaces ?? []) addressPrefix(prefix, "a namespace");
    // Whoever votes for it shall have read it.
    if ((args.tier === "process") !== (args.in_plain_text === true)) {
      fail("the tier process shows all data to whoever runs the process: it needs in_plain_text to be true, and no other tier has it");
    }
    if ((args.tier === "attested") !== (args.code !== undefined)) {
      fail("the tier attested needs code, which says what is accepted in the sections of an attestation policy, and no other tier has it");
    }
    for (const [section, policy] of Object.entries(args.code ?? {})) attestationSection(section, policy);
    if (args.code && Object.keys(args.code).length === 0) fail("code must name at least one section of an attestation policy");
  },
  apply({ ledger, family, version, tier, namespaces, code }) {
    const row = { tier, ...(namespaces ? { namespaces } : {}), ...(code ? { code } : {}) };
    writeRow(LEDGER_FAMILIES, textKey(`${ledger}:${family}:${version}`), row);
  },
  describe({ ledger, family, version, tier, namespaces, code }) {
    const what = family === "*" ? "every family that nothing else was decided about" : `the family ${family} ${version}`;
    const where = {
      native: "inside the node only",
      wasm: "inside the node only, as contracts in WebAssembly",
      attested: `only in processes whose evidence proves this code: ${JSON.stringify(code)}`,
      process: "in ANY process that reaches a node's endpoint: whoever runs one READS ITS DATA IN PLAIN TEXT and can answer what they like",
      refused: "nowhere",
    }[tier];
    const writes = namespaces ? `, writing only below ${namespaces.join(", ") || "nothing"}` : "";
    return `On the ledger ${ledger}, run ${what} ${where}${writes}`;
  },
});

function familyName(value, field) {
  if (value !== "*" && !/^[\w.-]{1,100}$/.test(value)) fail(`${field} must be a name of letters, digits, dots, dashes and underlines, or *`);
}

function addressPrefix(value, field) {
  if (!/^([0-9a-f]{2}){1,35}$/.test(value)) fail(`${field} must be an even number of lower-case hexadecimal digits, at most 70`);
}
