actions.set("remove_cca_anchor", {
  validate: (args) => checkArgs(args, { instance_id: is.hex(33) }),
  apply: ({ instance_id }) => void ccf.kv[ATTESTATION_ANCHORS].delete(textKey(`cca:${instance_id.toLowerCase()}`)),
  describe: ({ instance_id }) => `Trust the Arm platform ${instance_id} no more: its nodes fail`,
});
