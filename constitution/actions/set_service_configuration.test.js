refuses("set_service_configuration", { colour: "red" }, /no argument colour/);
refuses("set_service_configuration", { recent_cose_proposals_window_size: 0 }, /from 1 to 10000/);
carries("set_service_configuration", { recent_cose_proposals_window_size: 7, recovery_threshold: 2 });
equal(readRow(SERVICE_CONFIG, K0).recent_cose_proposals_window_size, 7);
writeRow(SERVICE_INFO, K0, { ...readRow(SERVICE_INFO, K0), status: "Open" });
fails("set_service_configuration", { recovery_threshold: 3 }, /only 0 share holders/);
