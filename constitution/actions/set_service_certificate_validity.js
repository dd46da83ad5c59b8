actions.set("set_service_certificate_validity", {
  validate: (args) => checkValidity(args, {}, "service"),
  apply: ({ valid_from, validity_period_days }) =>
    ccf.coco.renewServiceCertificate(unixSeconds(valid_from), validity_period_days ?? certificateDaysMax("service")),
  describe: (args) => `Renew the service's certificate, ${validityWords(args, "service")}; its key stays`,
});

function certificateDaysMax(whose) {
  return readRow(SERVICE_CONFIG, K0)?.[`maximum_${whose}_certificate_validity_days`] ?? 365;
}

function checkValidity(args, others, whose) {
  checkArgs(args, { ...others, valid_from: is.time, "validity_period_days?": is.integer(1, certificateDaysMax(whose)) });
}

function validityWords({ valid_from, validity_period_days }, whose) {
  const days = validity_period_days ?? certificateDaysMax(whose);
  return `valid for ${days} days from ${new Date(1000 * unixSeconds(valid_from)).toISOString()}`;
}
