refuses("trigger_recovery_shares_refresh", { now: true }, /takes no arguments/);
carries("trigger_recovery_shares_refresh", {});
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "WaitingForRecoveryShares" });
fails("trigger_recovery_shares_refresh", {}, /being recovered/);
