// Accounts are private: the ledger's files say nothing of them.
import { isAmount, refuse, table } from "./lib/rows.js";

const accounts = table("accounts");

export function open(request) {
  const { account } = request.params;
  const { owner, balance } = request.body.json();
  if (typeof owner !== "string" || !isAmount(balance)) return refuse(400, "an account has an owner, and a balance in cents");
  if (!ccf.kv["public:ccf.gov.users.certs"].has(ccf.strToBuf(owner))) return refuse(400, "the owner is no participant");
  if (accounts.read(account) !== undefined) return refuse(409, "there is such an account already");
  accounts.write(account, { owner, balance });
  return { statusCode: 201, body: { account, balance } };
}

export function show(request) {
  const { caller, params } = request;
  const found = accounts.read(params.account);
  // What is another's is answered as what is not there.
  if (found === undefined || (caller.policy === "user_cert" && caller.id !== found.owner)) return refuse(404, "there is no such account of yours");
  return { body: { account: params.account, balance: found.balance } };
}

export const total = () => ({ body: { total: accounts.rows().reduce((sum, { balance }) => sum + balance, 0) } });
