refuses("set_service_certificate_validity", {}, /valid_from/);
refuses("set_service_certificate_validity", { valid_from: "soon" }, /must be a time/);
refuses("set_service_certificate_validity", { valid_from: "20261332000000Z" }, /must be a time/);
refuses("set_service_certificate_validity", { valid_from: "20261121000000Z", validity_period_days: 366 }, /from 1 to 365/);
carries("set_service_certificate_validity", { valid_from: "20261121000000Z" });
carries("set_service_certificate_validity", { valid_from: "2026-11-21T10:00:00Z", validity_period_days: 90 });
writeRow(SERVICE_CONFIG, K0, { ...readRow(SERVICE_CONFIG, K0), maximum_service_certificate_validity_days: 30 });
refuses("set_service_certificate_validity", { valid_from: "261121000000Z", validity_period_days: 31 }, /from 1 to 30/);
for (const time of ["261121103000Z", "20261121103000Z", "2026-11-21T10:30:00Z", "2026-11-21T10:30:00", "2026-11-21 10:30:00"])
  equal(unixSeconds(time), Date.UTC(2026, 10, 21, 10, 30) / 1000);
