/** Messages that were given up, and mails that nobody could read; the oldest make room for the newest. */
import { RingpostError } from "../errors.js";
import type { Journal } from "../journal/journal.js";
import type { LetterFacts } from "../journal/records.js";
import type { DeadLetter } from "./ports.js";

const lettersMax = 1_000;

export interface LettersOptions {
  readonly journal: Journal;
  readonly deadLetter: (letter: DeadLetter) => void;
}

export class Letters {
  readonly #options: LettersOptions;

  constructor(options: LettersOptions) {
    this.#options = options;
  }

  /** One that is in the journal. */
  tell(facts: LetterFacts): void {
    this.#bound();
    this.#options.deadLetter(this.#letterOf(facts));
  }

  /** If a message with this id is among them. */
  tellOf(id: string): void {
    const letter = this.#options.journal.state.letters.get(id);
    if (letter) this.tell(letter.facts);
  }

  all(): readonly DeadLetter[] {
    const { letters } = this.#options.journal.state;
    return [...letters.values()].map(({ facts }) => this.#letterOf(facts));
  }

  drop(id: string): Promise<void> {
    return this.#options.journal.write({ kind: "dropLetter", id });
  }

  #bound(): void {
    const { journal } = this.#options;
    const { letters } = journal.state;
    const [oldest] = letters.keys();
    if (letters.size > lettersMax && oldest !== undefined) {
      journal.note({ kind: "dropLetter", id: oldest });
    }
  }

  #letterOf(facts: LetterFacts): DeadLetter {
    const { journal } = this.#options;
    const body = async () => {
      const content = journal.state.letters.get(facts.id)?.content;
      if (!content) throw new RingpostError("unknown", `no dead letter ${facts.id}`, false);
      return journal.readAll(content);
    };
    return { ...facts, body };
  }
}
