/** Who was refused, and whose address was blocked for it, beside what they used. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Refusals1763700000008 implements MigrationInterface {
  name = 'Refusals1763700000008';

  async up(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE pool_usage ADD COLUMN refusals bigint NOT NULL DEFAULT 0');
    await runner.query('ALTER TABLE pool_usage ADD COLUMN blocks bigint NOT NULL DEFAULT 0');
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE pool_usage DROP COLUMN blocks');
    await runner.query('ALTER TABLE pool_usage DROP COLUMN refusals');
  }
}
