actions.set("assert_service_identity", {
  validate(args) {
    checkArgs(args, { service_identity: is.certificate });
    if (readRow(SERVICE_INFO, K0)?.cert.trim() !== args.service_identity.trim()) fail("this is another service");
  },
  apply() {},
  describe: ({ service_identity }) => `Hold only for the service ${ccf.pemToId(service_identity).slice(0, 8)}…`,
});
