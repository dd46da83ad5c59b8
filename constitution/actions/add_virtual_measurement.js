actions.set("add_virtual_measurement", {
  validate: (args) => checkArgs(args, { measurement: is.hex(32) }),
  apply({ measurement }, proposalId) {
    writeRow(VIRTUAL_MEASUREMENTS, textKey(measurement.toLowerCase()), "AllowedToJoin");
    dropOtherOpenProposals(proposalId);
  },
  describe: ({ measurement }) =>
    `Let virtual nodes (no protection) that run the code ${measurement.slice(0, 8)}… join; every other open proposal is dropped`,
});
