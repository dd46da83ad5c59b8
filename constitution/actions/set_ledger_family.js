actions.set("set_ledger_family", {
  validate(args) {
    checkArgs(args, {
      ledger: is.string,
      family: familyName,
      version: familyName,
      tier: is.oneOf(["native", "attested", "process", "refused"]),
      "namespaces?": (value, field) => Array.isArray(value) || fail(`${field} must be a list`),
    });
    if ((args.family === "*") !== (args.version === "*")) fail("family and version must both be * to mean all others");
    for (const prefix of args.namespaces ?? []) addressPrefix(prefix, "a namespace");
  },
  apply({ ledger, family, version, tier, namespaces }) {
    writeRow(LEDGER_FAMILIES, textKey(`${ledger}:${family}:${version}`), { tier, ...(namespaces ? { namespaces } : {}) });
  },
  describe({ ledger, family, version, tier, namespaces }) {
    const what = family === "*" ? "every family that nothing else was decided about" : `the family ${family} ${version}`;
    const where = {
      native: "inside the node only",
      attested: "only where its code is attested",
      process: "in any process that reaches a node's endpoint and sees its data in plain text",
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
