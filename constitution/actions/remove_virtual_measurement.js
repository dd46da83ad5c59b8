actions.set("remove_virtual_measurement", {
  validate: (args) => checkArgs(args, { measurement: is.hex(32) }),
  apply: ({ measurement }) => void ccf.kv[VIRTUAL_MEASUREMENTS].delete(textKey(measurement.toLowerCase())),
  describe: ({ measurement }) => `Let no more virtual nodes join that run the code ${measurement.slice(0, 8)}…`,
});
