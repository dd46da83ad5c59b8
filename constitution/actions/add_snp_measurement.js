actions.set("add_snp_measurement", {
  validate: (args) => checkArgs(args, { measurement: is.hex(48) }),
  apply({ measurement }, proposalId) {
    writeRow(SNP_MEASUREMENTS, textKey(measurement.toLowerCase()), "AllowedToJoin");
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ measurement }) =>
    `Let SEV-SNP nodes join that were launched as ${measurement}; every other open proposal is dropped`,
});
