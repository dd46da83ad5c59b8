refuses("grant_epoch_to_auditor", { transaction: 1, auditor_key: "x", auditor: "A" }, /must be an RSA public key/);
refuses("grant_epoch_to_auditor", { transaction: 0, auditor_key: ENCRYPTION_KEY, auditor: "A" }, /from 1/);
fails("grant_epoch_to_auditor", { transaction: 5, auditor_key: ENCRYPTION_KEY, auditor: "A" }, /there is no epoch of transaction 5/);
