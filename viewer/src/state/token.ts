import { signIn } from "../api/client";

/** A token in the address's fragment is traded for a session once, and leaves the address. */
export async function takeToken(): Promise<void> {
  const token = new URLSearchParams(location.hash.slice(1)).get("token");
  if (token === null) return;
  history.replaceState(null, "", location.pathname + location.search);
  await signIn(token).catch(() => false);
}
