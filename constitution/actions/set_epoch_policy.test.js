refuses("set_epoch_policy", { max_age_s: 59 }, /from 60 to/);
carries("set_epoch_policy", { max_age_s: 3600 });
equal(readRow(EPOCH_POLICY, K0), { max_age_s: 3600 });
carries("set_epoch_policy", {});
equal(readRow(EPOCH_POLICY, K0), {});
