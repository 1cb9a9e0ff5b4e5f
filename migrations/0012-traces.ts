/** The trace of the request that made a commit, so that what delivers the commit can go on with it. Null where nobody traces. */
import type { MigrationInterface, QueryRunner } from 'typeorm';

export class Traces1763700000012 implements MigrationInterface {
  name = 'Traces1763700000012';

  async up(runner: QueryRunner): Promise<void> {
    const text = runner.dataSource.options.type === 'mysql' ? 'CHARACTER SET utf8mb4 COLLATE utf8mb4_bin' : '';
    await runner.query(`ALTER TABLE commit_log ADD COLUMN trace varchar(568) ${text} NULL`);
  }

  async down(runner: QueryRunner): Promise<void> {
    await runner.query('ALTER TABLE commit_log DROP COLUMN trace');
  }
}
