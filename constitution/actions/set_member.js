actions.set("set_member", {
  validate(args) {
    checkArgs(args, {
      cert: is.certificate,
      "encryption_pub_key?": is.encryptionKey,
      "member_data?": is.object,
      "recovery_role?": is.oneOf(["NonParticipant", "Participant", "Owner"]),
    });
    if (args.recovery_role && !args.encryption_pub_key) fail("a recovery_role needs an encryption_pub_key");
  },
  apply({ cert, encryption_pub_key, member_data, recovery_role }) {
    const id = ccf.pemToId(cert);
    const key = textKey(id);
    const held = activeShareHolders().some(([holder]) => holder === id);
    ccf.kv[MEMBER_CERTS].set(key, ccf.strToBuf(cert));
    if (encryption_pub_key) ccf.kv[MEMBER_KEYS].set(key, ccf.strToBuf(encryption_pub_key));
    else ccf.kv[MEMBER_KEYS].delete(key);
    writeRow(MEMBER_INFO, key, { member_data, recovery_role, status: "Accepted" });
    const signature = readRow(SIGNATURES, K0);
    writeRow(MEMBER_ACKS, key, { state_digest: signature?.root ?? "" });
    // Until it has acknowledged the state anew it holds no share; what its old key opens of the present secret must not open what comes.
    if (!held) return;
    const threshold = readRow(SERVICE_CONFIG, K0)?.recovery_threshold ?? 0;
    const left = activeShareHolders().length;
    if (left < threshold) fail(`${left} share holders would be left, and recovery needs ${threshold}`);
    if (serviceIsOpen()) ccf.node.triggerLedgerRekey();
  },
  describe({ cert, member_data }) {
    const id = ccf.pemToId(cert);
    const verb = ccf.kv[MEMBER_INFO].has(textKey(id)) ? "Reset the member" : "Add the member";
    return `${verb} ${named(member_data, id)}; it votes once it has acknowledged the state`;
  },
});
