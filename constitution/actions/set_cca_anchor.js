// Arm has no root for all platforms: each one's attestation key is trusted by itself.
actions.set("set_cca_anchor", {
  validate(args) {
    checkArgs(args, { instance_id: is.hex(33), implementation_id: is.hex(32), key: is.string });
    if (!/^([0-9a-fA-F]{2}){60,300}$/.test(args.key)) fail("key must be a SubjectPublicKeyInfo in hexadecimal digits");
  },
  apply({ instance_id, implementation_id, key }, proposalId) {
    const row = { implementation_id: implementation_id.toLowerCase(), key: key.toLowerCase() };
    writeRow(ATTESTATION_ANCHORS, textKey(`cca:${instance_id.toLowerCase()}`), row);
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ instance_id, key }) =>
    `Trust the Arm platform ${instance_id} by its key ${key}; every other open proposal is dropped`,
});
