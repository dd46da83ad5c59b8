actions.set("set_service_configuration", {
  validate(args) {
    checkArgs(args, {
      "recovery_threshold?": is.integer(1, 254),
      "recent_cose_proposals_window_size?": is.integer(1, 10000),
      "reconfiguration_type?": is.oneOf(["OneTransaction"]),
    });
  },
  apply(args) {
    if (args.recovery_threshold !== undefined) checkThreshold(args.recovery_threshold);
    writeRow(SERVICE_CONFIG, K0, { ...readRow(SERVICE_CONFIG, K0), ...args });
    if (args.recovery_threshold !== undefined && serviceIsOpen()) ccf.node.triggerRecoverySharesRefresh();
  },
  describe: (args) => `Configure the service: ${Object.entries(args).map(([name, value]) => `${name} = ${value}`).join(", ")}`,
});

function checkThreshold(threshold) {
  const { status } = readRow(SERVICE_INFO, K0);
  if (status === "WaitingForRecoveryShares") fail("the recovery threshold is fixed while shares are being submitted");
  const holders = activeShareHolders().length;
  if (status === "Open" && threshold > holders) fail(`recovery would need ${threshold} of only ${holders} share holders`);
}
