// Chromium as the browser tests run it.
import { chromium } from 'playwright-core'
import { settings } from './lib.mjs'

const args = ['--no-sandbox', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-default-apps',
  '--no-first-run', '--disable-extensions', '--disable-domain-reliability', '--disable-dev-shm-usage', '--disable-gpu']

export const launch = () => chromium.launch({ executablePath: settings.chromium, args })
