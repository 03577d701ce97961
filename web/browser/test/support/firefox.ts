/** A stock Firefox, driven over WebDriver BiDi. */

import { after, before } from 'node:test';
import type { Page as PlaywrightPage } from '@playwright/test';
import { type Browser, launch, type Page } from 'puppeteer-core';

/** Starts the browser before the tests of a file and closes it after them; returns it once it is there. */
export function firefox(): () => Browser {
  let browser: Browser;
  before(async () => {
    browser = await launch({
      browser: 'firefox',
      executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
      headless: true,
    });
  });
  after(async () => {
    await browser.close();
  });
  return () => browser;
}

/** `evaluate` is all that the test helpers use of a page, and both drivers have it. */
export function asPlaywright(page: Page): PlaywrightPage {
  return page as unknown as PlaywrightPage;
}
