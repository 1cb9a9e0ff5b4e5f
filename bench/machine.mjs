// Facts of the machine without which a number means nothing: processor, kernel, and what one fsync costs where the databases lie.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { cacheDir } from './places.mjs';

export function machineFacts() {
  const { type } = fs.statfsSync(cacheDir);
  return {
    cores: os.availableParallelism(),
    cpu: os.cpus()[0].model,
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    kernel: os.release(),
    node: process.version,
    fileSystem:
      { 61267: 'ext4', 16914836: 'tmpfs', 1481003842: 'xfs', 2435016766: 'btrfs', 2035054128: 'overlay' }[type] ??
      `0x${type.toString(16)}`,
    fsyncMs: fsyncCost(),
    loadAverage: os.loadavg()[0],
    time: new Date().toISOString(),
  };
}

// Median and worst of 200 times appending a page and fdatasync, as a write-ahead log does.
function fsyncCost() {
  const file = path.join(cacheDir, `fsync-${process.pid}`);
  const fd = fs.openSync(file, 'w');
  const page = Buffer.alloc(4096, 1);
  const costs = [];
  for (let i = 0; i < 200; i++) {
    const start = performance.now();
    fs.writeSync(fd, page);
    fs.fdatasyncSync(fd);
    costs.push(performance.now() - start);
  }
  fs.closeSync(fd);
  fs.rmSync(file);
  costs.sort((a, b) => a - b);
  return { median: costs[100], worst: costs[199] };
}
