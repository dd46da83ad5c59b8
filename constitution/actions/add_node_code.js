actions.set("add_node_code", {
  validate: (args) => checkArgs(args, { code_id: is.hex(32) }),
  apply({ code_id }, proposalId) {
    writeRow(SGX_MEASUREMENTS, textKey(code_id.toLowerCase()), "AllowedToJoin");
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ code_id }) => `Let SGX nodes join whose enclave is ${code_id}; every other open proposal is dropped`,
});
