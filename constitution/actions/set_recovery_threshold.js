actions.set("set_recovery_threshold", {
  validate: (args) => checkArgs(args, { recovery_threshold: is.integer(1, 254) }),
  apply: (args) => actions.get("set_service_configuration").apply(args),
  describe: ({ recovery_threshold }) => `Recovery needs the shares of ${recovery_threshold} members`,
});
