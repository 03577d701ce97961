import { expect, test } from '../support/fixtures.ts';

test('the lab page loads the package', async ({ lab }) => {
  expect(await lab.evaluate(() => 'uploads' in window)).toBe(true);
});
