actions.set("transition_service_to_open", {
  validate(args) {
    checkArgs(args, { next_service_identity: is.certificate, "previous_service_identity?": is.certificate });
  },
  apply({ next_service_identity, previous_service_identity }) {
    const previous = previous_service_identity ? ccf.strToBuf(previous_service_identity) : undefined;
    ccf.node.transitionServiceToOpen(previous, ccf.strToBuf(next_service_identity));
  },
  describe: ({ next_service_identity }) =>
    `Open the service ${ccf.pemToId(next_service_identity).slice(0, 8)}… to its applications`,
});
