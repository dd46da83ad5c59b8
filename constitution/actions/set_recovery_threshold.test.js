refuses("set_recovery_threshold", { recovery_threshold: 255 }, /from 1 to 254/);
carries("set_recovery_threshold", { recovery_threshold: 2 });
equal(readRow(SERVICE_CONFIG, K0).recovery_threshold, 2);
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "WaitingForRecoveryShares" });
fails("set_recovery_threshold", { recovery_threshold: 1 }, /while shares are being submitted/);
