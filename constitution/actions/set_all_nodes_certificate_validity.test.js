refuses("set_all_nodes_certificate_validity", { valid_from: 5 }, /must be a time/);
refuses("set_all_nodes_certificate_validity", { valid_from: "20261121000000Z", validity_period_days: 0 }, /from 1 to 365/);
carries("set_all_nodes_certificate_validity", { valid_from: "20261121000000Z" });
