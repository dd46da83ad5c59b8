actions.set("set_namespace_readers", {
  validate(args) {
    checkArgs(args, {
      ledger: is.string,
      namespace: (value, field) => value === "" || addressPrefix(value, field),
      "readers?": (value, field) => Array.isArray(value) || fail(`${field} must be a list`),
    });
    for (const reader of args.readers ?? []) is.string(reader, "a reader");
  },
  apply({ ledger, namespace, readers }) {
    const key = textKey(`${ledger}:${namespace}`);
    if (readers) writeRow(LEDGER_NAMESPACES, key, { readers });
    else ccf.kv[LEDGER_NAMESPACES].delete(key);
  },
  describe({ ledger, namespace, readers }) {
    const where = namespace === "" ? `the ledger ${ledger}` : `what begins with ${namespace} on the ledger ${ledger}`;
    if (!readers) return `Let everybody read ${where} who may read what surrounds it`;
    return readers.length === 0 ? `Let nobody read ${where}` : `Let only these read ${where}: ${readers.join(", ")}`;
  },
});
