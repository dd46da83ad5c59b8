actions.set("transition_service_to_open", {
  validate(args) {
    checkArgs(args, { next_service_identity: is.certificate, "previous_service_identity?": is.certificate });
  },
  apply({ next_service_identity, previous_service_identity }) {
    const previous = previous_service_identity ? ccf.strToBuf(previous_service_identity) : undefined;
    ccf.node.transitionServiceToOpen(previous, ccf.strToBuf(next_service_identity));
  },
  describe({ next_service_identity, previous_service_identity }) {
    const next = `${ccf.pemToId(next_service_identity).slice(0, 8)}…`;
    if (!previous_service_identity) return `Open the service ${next} to its applications`;
    const previous = `${ccf.pemToId(previous_service_identity).slice(0, 8)}…`;
    const to = readRow(RECOVERY, K0)?.recovered_to;
    return `Recover the service ${previous} as ${next}${to ? `, with its ledger up to ${to}` : ""}, once enough recovery shares are there`;
  },
});
