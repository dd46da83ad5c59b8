actions.set("remove_snp_measurement", {
  validate: (args) => checkArgs(args, { measurement: is.hex(48) }),
  apply: ({ measurement }) => void ccf.kv[SNP_MEASUREMENTS].delete(textKey(measurement.toLowerCase())),
  describe: ({ measurement }) => `Accept no more SEV-SNP nodes that were launched as ${measurement}`,
});
