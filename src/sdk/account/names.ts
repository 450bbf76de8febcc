/** Names of users. */

/** `alice` and `ring.test` → `alice@ring.test`. */
export function userId(name: string, domain: string): string {
  const text = name.trim().toLowerCase();
  return text.includes("@") ? text : `${text}@${domain}`;
}

export const domainOf = (address: string): string => address.slice(address.lastIndexOf("@") + 1);
