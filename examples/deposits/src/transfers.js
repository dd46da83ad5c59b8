// A transfer is one transaction: both accounts change, or none.
import { isAmount, refuse, table } from "./lib/rows.js";

const accounts = table("accounts");

export function transfer(request) {
  const { account } = request.params;
  const { to, amount } = request.body.json();
  if (typeof to !== "string" || to === account || !isAmount(amount)) return refuse(400, "a transfer has another account, and an amount in cents");
  const [from, other] = [accounts.read(account), accounts.read(to)];
  if (from === undefined || from.owner !== request.caller.id) return refuse(404, "there is no such account of yours");
  if (other === undefined) return refuse(404, "there is no account to transfer to");
  if (from.balance < amount) return refuse(400, "there is not so much in the account");
  accounts.write(account, { ...from, balance: from.balance - amount });
  accounts.write(to, { ...other, balance: other.balance + amount });
  return { body: { account, balance: from.balance - amount } };
}
