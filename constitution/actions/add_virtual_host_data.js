// What a virtual node says that it was launched with, as SEV-SNP nodes prove it. Once any is listed, a virtual node must say one of them.
actions.set("add_virtual_host_data", {
  validate: (args) => checkArgs(args, { host_data: is.hex(32) }),
  apply({ host_data }, proposalId) {
    writeRow(VIRTUAL_HOST_DATA, textKey(host_data.toLowerCase()), "");
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ host_data }) =>
    `Accept virtual nodes (no protection) with the host data ${host_data}, and none that says other than what is listed; ` +
    "every other open proposal is dropped",
});
