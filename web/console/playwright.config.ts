import { defineConfig } from '@playwright/test';
import shared from '../playwright.ts';

export default defineConfig(shared, { testDir: 'test/browser', outputDir: 'test-results' });
